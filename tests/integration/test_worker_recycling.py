"""How a worker replaces its processes, when it ends by itself, and what it does when one cannot start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taskq import State, TaskFailed
from tests.apps.growing import BREAK
from tests.proxy import Fate, Proxy, nth
from tests.support import wait_until
from tests.workers import ROOT, Yard


@pytest.mark.parametrize("processes", [1, 2])
def test_a_process_is_replaced_after_its_tasks_without_loss(tmp_path: Path, processes: int) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("growing", max_tasks=40, processes=processes)
        first = set(worker.children())
        handles = yard.send_many("growing.rest", [(0.02,)] * 400)

        assert yard.wait_ended(handles, timeout=30) == {"succeeded": 400}
        assert set(yard.ledger.counts().values()) == {1}
        assert set(yard.ledger.counts("end").values()) == {1}
        wait_until(lambda: first.isdisjoint(worker.children()), message=worker.tail)
        assert worker.says("is replaced: it has run")
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_process_is_replaced_at_its_age(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("growing", max_age_ms=1_000)
        [first] = worker.children()
        long = yard.send("growing.rest", 2.5)
        yard.ledger.wait("start", long.id)

        wait_until(lambda: yard.send("growing.rest", 0).result(timeout=10) != first)
        assert long.result(timeout=10) == first
        assert len(yard.ledger.starts(long.id)) == 1
        wait_until(lambda: first not in worker.children())
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_process_is_replaced_when_it_has_grown(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("growing", max_memory=150_000_000)
        [first] = worker.children()

        assert yard.send("growing.grow", 200).result(timeout=10) == first

        wait_until(lambda: worker.children() and first not in worker.children())
        assert yard.send("growing.rest", 0).result(timeout=10) in worker.children()
        assert worker.says("MB")
        assert worker.stop() == 0


@pytest.mark.parametrize("processes", [1, 3])
def test_a_burst_ends_when_the_queues_are_empty(tmp_path: Path, processes: int) -> None:
    with Yard(tmp_path) as yard:
        handles = yard.send_many("growing.rest", [(0.01,)] * 100)
        spawned = yard.send("growing.spawn", "rest")
        later = yard.send("growing.rest", 0, delay=60)
        worker = yard.worker("growing", burst=True, processes=processes, wait=False)

        assert worker.wait(timeout=20) == 0

        assert yard.states([*handles, spawned]) == {"succeeded": 101}
        assert later.status() is State.SCHEDULED
        assert len(yard.ledger.ends()) == 101
        assert yard.stats()["S"] == 102


def test_a_burst_goes_on_when_a_task_ends_its_process(tmp_path: Path) -> None:
    """An exit code of 0 is no proof that the queues are empty."""
    with Yard(tmp_path) as yard:
        leaver = yard.send("growing.leave_cleanly", 0.1)
        handles = yard.send_many("growing.rest", [(0.05,)] * 20)
        worker = yard.worker("growing", burst=True, wait=False)

        assert worker.wait(timeout=20) == 0
        assert yard.states(handles) == {"succeeded": 20}
        with pytest.raises(TaskFailed, match="CrashedTooOften"):
            leaver.result(timeout=5)


def test_a_burst_does_not_end_at_a_reconnect(tmp_path: Path) -> None:
    """A process that is connected again asks first what its last claim was given, and for no more."""
    with Yard(tmp_path) as yard, Proxy(yard.server.port, nth("claim", 1, Fate.LOSE_COMMAND)) as proxy:
        handles = yard.send_many("growing.rest", [(0,)] * 20)
        worker = yard.worker("growing", burst=True, url=proxy.url, wait=False)

        assert worker.wait(timeout=20) == 0
        assert proxy.lost[Fate.LOSE_COMMAND] == 1
        assert yard.states(handles) == {"succeeded": 20}


def test_a_burst_runs_what_its_first_outcome_sends_round_again(tmp_path: Path) -> None:
    """A server that does not know the script yet settles after the claim that was sent behind."""
    with Yard(tmp_path) as yard:
        handle = yard.send("outcomes.again", 2, 0)
        worker = yard.worker("outcomes", burst=True, wait=False)

        assert worker.wait(timeout=20) == 0
        assert handle.result(timeout=1) == 2


@pytest.mark.parametrize("a", ["", "a"], ids=["sync", "async"])
@pytest.mark.parametrize(("ack", "args"), [("early", (0.1,)), ("manual", ("ack", None, 0.1))])
def test_a_burst_ends_at_once_after_what_was_settled_before_its_end(
    tmp_path: Path, a: str, ack: str, args: tuple[object, ...]
) -> None:
    with Yard(tmp_path) as yard:
        handles = yard.send_many(f"acks.{a}{ack}", [args] * 2)
        worker = yard.worker("acks", burst=True, wait=False)

        assert worker.wait(timeout=20) == 0
        ended = time.monotonic()
        assert yard.states(handles) == {"succeeded": 2}
        # A process that waits for a token does so for 1.6 s at least, and would have begun at the settling.
        assert ended - yard.ledger.ends()[-1].at < 1.2


def test_a_burst_goes_on_past_what_was_cancelled(tmp_path: Path) -> None:
    """One claim looks at so many ids, and gives nothing while all of those have ended."""
    with Yard(tmp_path) as yard:
        for handle in yard.send_many("growing.rest", [(0,)] * 300):
            handle.cancel()
        last = yard.send("growing.rest", 0)
        worker = yard.worker("growing", burst=True, wait=False)

        assert worker.wait(timeout=20) == 0
        assert last.status() is State.SUCCEEDED


def test_a_process_that_cannot_start_is_tried_again_ever_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    monkeypatch.setenv(BREAK, str(broken))
    with Yard(tmp_path) as yard:
        worker = yard.worker("growing")
        [child] = worker.children()
        broken.touch()
        os.kill(child, signal.SIGKILL)

        began = time.monotonic()
        wait_until(lambda: len(worker.says("with exit code 70")) >= 3, timeout=20, message=worker.tail)
        assert time.monotonic() - began > 0.5 + 1
        assert worker.running()

        handle = yard.send("growing.rest", 0)
        broken.unlink()
        handle.result(timeout=20)
        assert worker.stop() == 0


def test_a_process_is_kept_while_its_successor_cannot_start_and_tried_ever_more_slowly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    monkeypatch.setenv(BREAK, str(broken))
    with Yard(tmp_path) as yard:
        worker = yard.worker("growing", max_tasks=1)
        [first] = worker.children()
        broken.touch()
        began = time.monotonic()
        assert yard.send("growing.rest", 0).result(timeout=10) == first

        wait_until(lambda: len(worker.says("with exit code 70")) >= 4, timeout=20, message=worker.tail)
        assert time.monotonic() - began > 0.5 + 1 + 2
        assert yard.send("growing.rest", 0).result(timeout=10) == first

        broken.unlink()
        wait_until(lambda: first not in worker.children(), timeout=20)
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_worker_whose_first_process_cannot_start_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.touch()
    monkeypatch.setenv(BREAK, str(broken))
    with Yard(tmp_path) as yard:
        worker = yard.worker("growing", wait=False)

        assert worker.wait() == 1
        assert worker.says("this process has to end")


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGRTMIN + 6], ids=str)
def test_a_worker_whose_first_process_is_killed_says_how(tmp_path: Path, number: int) -> None:
    (tmp_path / "own_app.py").write_text(f"import os\nos.kill(os.getpid(), {int(number)})\n")
    with Yard(tmp_path) as yard:
        worker = yard.worker("own_app:app", app_dir=str(tmp_path), wait=False)

        assert worker.wait() == 1
        assert worker.says(
            "ended by signal SIGSEGV" if number == signal.SIGSEGV else f"ended by signal {number}"
        )


def test_a_worker_whose_lifespan_leaves_says_so(tmp_path: Path) -> None:
    (tmp_path / "own_app.py").write_text(
        "import sys\nfrom taskq import TaskQ\napp = TaskQ('tests', lifespan=lambda _: sys.exit('no licence'))\n"
    )
    with Yard(tmp_path) as yard:
        worker = yard.worker("own_app:app", app_dir=str(tmp_path), wait=False)

        assert worker.wait() == 1
        [line] = worker.says("this process has to end")
        assert "SystemExit: no licence" in line["traceback"]


CODE = {
    "no module": ("nowhere:app", "", "there is no module 'nowhere'"),
    "no attribute": ("own_app:app", "other = 1\n", "own_app has no 'app'"),
    "no app": ("own_app:app", "app = 1\n", "own_app:app is of type int, not a TaskQ"),
    "raises": ("own_app:app", "raise ValueError('oh')\n", "ValueError: oh"),
    "syntax": ("own_app:app", "def\n", "SyntaxError"),
    "exits": ("own_app:app", "raise SystemExit(0)\n", "SystemExit"),
    "form": ("own_app", "", "MODULE:APP"),
}


@pytest.mark.parametrize("case", CODE)
def test_an_app_that_cannot_be_loaded_is_one_line(tmp_path: Path, case: str) -> None:
    spec, code, message = CODE[case]
    (tmp_path / "own_app.py").write_text(code)
    command = [sys.executable, "-m", "taskq", "worker", spec, "--url", "redis://127.0.0.1:1/0"]

    told = subprocess.run(
        [*command, "--app-dir", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert told.returncode == 2  # as taskq.cli.exits has it for a wrong app
    assert message in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert not told.stdout


def test_an_app_without_a_server_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "own_app.py").write_text("from taskq import TaskQ\napp = TaskQ('own')\n")
    environ = {name: value for name, value in os.environ.items() if not name.endswith("REDIS_URL")}

    told = subprocess.run(
        [sys.executable, "-m", "taskq", "worker", "own_app:app", "--app-dir", str(tmp_path)],
        env={**environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert told.returncode != 0
    assert "TASKQ_REDIS_URL" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
