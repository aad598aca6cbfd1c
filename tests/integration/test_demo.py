"""`taskq demo` as a process of its own, on a real embedded server and few files; and that it can fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from taskq.broker import keeper
from tests.servers import find_server
from tests.support import wait_until

_ROOT = Path(__file__).parents[2]
_FILES = 400

# The command as it is, but for the input's size, and for what a test breaks.
_PROGRAM = """
import sys
from taskq.cli import run
from taskq.cli.demo import indexing

files = indexing.find_files().standard_library[:{files}]
indexing.find_files = lambda: indexing.Files(files, [], [])
{sabotage}
sys.exit(run(["demo", *sys.argv[1:]]))
"""

_MISCOUNTED = """
import dataclasses
from taskq.cli.demo import course

def miscount(path, facts_of=course.facts_of):
    facts = facts_of(path)
    return dataclasses.replace(facts, words=facts.words + 1)

course.facts_of = miscount
"""

_LOST = """
from taskq.broker.commands.reading import read
from taskq.cli.demo import course

def lose(files, enqueue=course._enqueue):
    sent = enqueue(files)
    broker, id = course.tasks.app.broker, sent[-1].handle.id
    broker.call(read(broker.keys[0], "DEL", broker.keys[0].record(id), broker.keys[0].message(id)))
    return sent

course._enqueue = lose
"""

_NOT_KILLED = """
from taskq.cli.demo import killing

def spare(pid, number):
    if number == 0:
        raise ProcessLookupError

killing.os = type("os", (), {"kill": spare})
"""

_NEVER_AT_WORK = """
from taskq.cli.demo.killing import Killer
Killer.strike = lambda self: False
"""

_WORKER_ENDS = """
from taskq.cli.demo import course

def end(handles, worker, *rest, follow=course.follow):
    worker.stop()
    follow(handles, worker, *rest)

course.follow = end
"""

# The same files under names that no terminal has room for: which ones are shown is up to chance.
_LONG_NAMES = """
import os

for number, file in enumerate(files):
    files[number] = os.fsencode(f"{folder}/{{number:080}}.py")
    os.symlink(file, files[number])
"""

_NO_SERVER = """
from taskq.broker import embedded
embedded._binaries = lambda: iter(())
"""


class Shown(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


Start = Callable[..., "subprocess.Popen[str]"]
Demo = Callable[..., Shown]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the demo makes its directory."""
    place = tmp_path / "tmp"
    place.mkdir()
    return place


@pytest.fixture
def start(place: Path) -> Start:
    def start(
        *options: str, sabotage: str = "", files: int = _FILES, **variables: str
    ) -> subprocess.Popen[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("TASKQ_")}
        return subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(files=files, sabotage=sabotage), *options],
            cwd=_ROOT,
            env={**own, "TMPDIR": str(place), **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def demo(start: Start) -> Demo:
    def demo(*options: str, **settings: Any) -> Shown:
        with start(*options, **settings) as process:
            out, err = process.communicate(timeout=55)
        return Shown(process.returncode, out, err)

    return demo


def _ledger(place: Path) -> Path:
    """Give the ledger once tasks run."""
    (found,) = wait_until(lambda: list(place.glob("taskq-demo-*/ledger")), timeout=30)
    return found


def test_the_demo_shows_what_it_promises_and_leaves_nothing(
    demo: Demo, place: Path, server_kind: str
) -> None:
    # What is set for the user's own apps is not for the demo.
    strange = {"TASKQ_REDIS_URL": "redis://127.0.0.1:1/0", "TASKQ_LEASE": "no duration"}
    shown = demo("--json", TASKQ_REDIS_SERVER=find_server(server_kind), **strange)

    assert shown.code == 0, shown
    assert shown.json()["ok"] is True
    found = shown.json()["findings"]
    assert found["totals"] == found["plain_totals"]
    assert found["totals"]["files"] == _FILES
    assert (found["accepted"], found["succeeded"], found["failed"]) == (_FILES + 1, _FILES, 1)
    assert (found["stumbling"], found["retried"]) == (4, 4)
    assert found["interrupted"]
    for task in found["interrupted"]:
        assert task["again_in"] not in (None, *found["killed"])
        assert task["id"] in shown.err
    (letter,) = found["dead_letters"]
    assert (letter["id"], letter["attempts"]) == (found["hopeless"], 3)
    assert list(place.iterdir()) == []


def test_people_read_the_totals_side_by_side(demo: Demo, tmp_path: Path) -> None:
    shown = demo(sabotage=_LONG_NAMES.format(folder=tmp_path))

    assert shown.code == 0, shown
    assert shown.out.splitlines()[-1] == "Nothing was lost, and the totals are equal."
    (lines,) = [line.split() for line in shown.out.splitlines() if line.startswith("files ")]
    assert lines == ["files", str(_FILES), str(_FILES)]
    assert max(map(len, shown.out.splitlines())) <= 80


def test_one_process_is_enough(demo: Demo) -> None:
    shown = demo("--json", "--processes", "1")

    assert shown.code == 0, shown


def test_executed_children_do_as_forked_ones(demo: Demo) -> None:
    # How macOS starts them.
    shown = demo("--json", TASKQ_START_METHOD="exec")

    assert shown.code == 0, shown


@pytest.mark.parametrize(
    ("sabotage", "problem"),
    [
        (_MISCOUNTED, "words differ"),
        (_LOST, "LOST"),
        (_NOT_KILLED, "NOT redelivered"),
        (_NEVER_AT_WORK, "no process could be killed"),
    ],
    ids=["miscounted", "lost", "not killed", "never at work"],
)
def test_what_goes_wrong_is_said_and_exits_with_1(demo: Demo, sabotage: str, problem: str) -> None:
    shown = demo("--json", sabotage=sabotage)

    assert shown.code == 1, shown
    assert shown.json()["ok"] is False
    assert any(problem in said for said in shown.json()["problems"]), shown
    assert "The worker's log" in shown.err


def test_a_worker_that_ends_is_told_with_its_log(demo: Demo, place: Path) -> None:
    shown = demo(sabotage=_WORKER_ENDS)

    assert shown.code == 1, shown
    assert "the worker has ended by itself, with exit code 0" in shown.err
    assert "stopping: running tasks have" in shown.out
    assert list(place.iterdir()) == []


def test_fakeredis_is_refused_unless_it_is_asked_for(demo: Demo, place: Path) -> None:
    shown = demo(sabotage=_NO_SERVER)

    assert shown.code == 2, shown
    assert "--allow-fake" in shown.err
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "TERM"]
)
def test_told_to_stop_it_cleans_up(start: Start, place: Path, number: signal.Signals, code: int) -> None:
    with start(files=100_000) as process:
        ledger = _ledger(place)
        process.send_signal(number)
        process.communicate(timeout=30)

    assert process.returncode == code
    assert not ledger.exists()
    assert list(place.iterdir()) == []


def test_when_it_is_killed_its_worker_and_its_server_end(start: Start, place: Path) -> None:
    with start(files=100_000) as process:
        ledger = _ledger(place)
        process.kill()
        process.communicate(timeout=30)

    # The server ends a while after its last user, which is the worker.
    lock = ledger.parent / "server" / "keeper.lock"

    def ended() -> bool:
        descriptor = keeper.try_lock(lock)
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is not None

    wait_until(ended, timeout=40, message="the server's end")
