"""The rules that hold for all other tests: nothing is skipped in silence, nothing is left in Redis."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taskq.broker.keys import PERMANENT
from tests.leaks import WORK, leaks
from tests.strict import ALLOWED, read_allowances
from tests.support import wait_until

ROOT = Path(__file__).parents[2]
SUITE = """
import pytest

@pytest.mark.skip(reason="needs a moon rover")
def test_skipped(): ...

@pytest.mark.xfail(reason="the moon is far")
def test_expected_to_fail(): assert False

def test_run(): ...
"""


def run_pytest(folder: Path, *, strict: bool) -> tuple[int, str]:
    (folder / "conftest.py").write_text("from tests.strict import install as pytest_configure\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TASKQ_TESTS_STRICT": "1" if strict else "0"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "-ra",
        str(folder),
    ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50)
    return done.returncode, done.stdout


def test_a_strict_run_fails_what_did_not_run(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(SUITE)

    code, output = run_pytest(tmp_path, strict=True)

    assert code == 1
    assert "1 failed, 1 passed, 1 error" in output
    assert "test_some.py::test_skipped did not run" in output
    assert "needs a moon rover" in output
    assert "the moon is far" in output


def test_a_strict_run_fails_a_module_that_skips_itself(tmp_path: Path) -> None:
    (tmp_path / "test_all.py").write_text("import pytest; pytest.importorskip('no_such_module')\n")
    (tmp_path / "test_some.py").write_text("def test_run(): ...\n")

    code, output = run_pytest(tmp_path, strict=True)

    assert code != 0
    assert "test_all.py did not run" in output


def test_a_strict_run_fails_without_tests(tmp_path: Path) -> None:
    code, _ = run_pytest(tmp_path, strict=True)

    assert code == pytest.ExitCode.NO_TESTS_COLLECTED


def test_other_runs_show_what_they_skip(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(SUITE)

    code, output = run_pytest(tmp_path, strict=False)

    assert code == 0
    assert "needs a moon rover" in output
    assert "1 passed, 1 skipped, 1 xfailed" in output


def test_an_allowance_covers_its_tests_for_its_reason_only(tmp_path: Path) -> None:
    listed = tmp_path / "allowed.txt"
    listed.write_text("# why\n\ntests/unit/test_mac.py | needs macOS | no such machine\n")
    (allowance,) = read_allowances(listed)

    assert allowance.covers("tests/unit/test_mac.py::test_spawn", "Skipped: needs macOS")
    assert not allowance.covers("tests/unit/test_mac.py::test_spawn", "Skipped: flaky")
    assert not allowance.covers("tests/unit/test_other.py::test_spawn", "Skipped: needs macOS")


def test_an_allowance_needs_its_reason(tmp_path: Path) -> None:
    listed = tmp_path / "allowed.txt"
    listed.write_text("tests/unit/test_mac.py | needs macOS\n")

    with pytest.raises(ValueError, match=r"allowed\.txt:1"):
        read_allowances(listed)


def test_the_committed_list_can_be_read() -> None:
    read_allowances(ALLOWED)


@pytest.mark.parametrize("tail", ["t:0-abc", "b:0-abc", "held:p1", "u:send:42", "x:0-abc"])
def test_a_task_that_stays_is_a_leak_unless_the_test_says_so(tail: str) -> None:
    ttls = {"tq:{ns:0}:" + tail: -1}

    assert leaks(ttls, leaves_work=False) == list(ttls)
    assert leaks(ttls, leaves_work=True) == []
    assert leaks(dict.fromkeys(ttls, 5_000), leaves_work=False) == []


def test_the_permanent_list_and_nothing_else_may_stay() -> None:
    documented = [pattern.replace("*", "some:thing") for pattern in PERMANENT]

    assert leaks({"tq:{ns:0}:" + tail: -1 for tail in documented}, leaves_work=False) == []
    for stray in ("inbox:c1", "stats:29000000", "metal", "info:p1"):
        assert leaks({"tq:{ns:0}:" + stray: -1}, leaves_work=True) == ["tq:{ns:0}:" + stray]


def test_what_is_work_is_not_permanent() -> None:
    assert not set(WORK) & set(PERMANENT)


def test_waiting_ends_with_what_was_waited_for() -> None:
    answers = iter([0, "", None, 42])

    assert wait_until(lambda: next(answers)) == 42


def test_waiting_in_vain_says_how_things_stand() -> None:
    with pytest.raises(AssertionError, match=r"waited 0\.01 s for 3 of 5 ended"):
        wait_until(lambda: False, timeout=0.01, message=lambda: "3 of 5 ended")
