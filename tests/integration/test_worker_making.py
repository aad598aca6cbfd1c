"""Two ways to make a process: forked from the supervisor, and executed anew as macOS needs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from taskq import TaskCancelled, TaskFailed
from tests.support import wait_until
from tests.workers import ROOT, Yard

pytestmark = pytest.mark.parametrize("start_method", ["fork", "exec"])


def test_tasks_of_both_kinds_run(tmp_path: Path, start_method: str) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("outcomes", start_method=start_method, processes=2)

        assert yard.send("outcomes.echo", [1]).result(timeout=10) == [1]
        assert yard.send("outcomes.aecho", {"a": 1}).result(timeout=10) == {"a": 1}
        assert yard.send("outcomes.fail", 3).result(timeout=10) == 3
        with pytest.raises(TaskFailed, match="no address"):
            yard.send("outcomes.reject").result(timeout=10)
        assert len(worker.children()) == 2
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_dead_process_gives_back_what_it_ran(tmp_path: Path, start_method: str) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", start_method=start_method)
        handle, poison = yard.send("deadly.work", 0.5), yard.send("deadly.poison", "segv", queue="later")
        [start] = yard.ledger.wait("start", handle.id)
        os.kill(start.pid, signal.SIGKILL)

        assert handle.result(timeout=10) == 2
        again = yard.worker("deadly", start_method=start_method, queues=("later",))
        with pytest.raises(TaskFailed, match="CrashedTooOften"):
            poison.result(timeout=20)
        for one in (worker, again):
            yard.wait_ready(one)
            assert one.stop() == 0
        assert yard.leftovers() == []


def test_timeouts_and_cancels_reach_the_task(tmp_path: Path, start_method: str) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("endings", start_method=start_method)
        cancelled = yard.send("endings.anap", 30)
        late = yard.send("endings.turn", 30, timeout=0.3, max_retries=0)
        yard.ledger.wait("start", count=2)
        cancelled.cancel()

        with pytest.raises(TaskCancelled):
            cancelled.result(timeout=10)
        with pytest.raises(TaskFailed, match=r"timeout of 0\.3 s"):
            late.result(timeout=10)
        assert worker.stop() == 0


def test_a_stop_and_a_reload_work(tmp_path: Path, start_method: str) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", start_method=start_method, processes=2)
        old = set(worker.children())
        running = yard.send("deadly.work", 1)
        yard.ledger.wait("start", running.id)
        worker.send(signal.SIGHUP)

        wait_until(
            lambda: len(worker.children()) == 2 and old.isdisjoint(worker.children()), message=worker.tail
        )
        assert running.result(timeout=5) == 1
        last = yard.send("deadly.awork", 1)
        yard.ledger.wait("start", last.id)
        assert worker.stop() == 0
        assert last.result(timeout=5) == 1
        assert yard.leftovers() == []


def test_a_process_ends_with_its_supervisor(tmp_path: Path, start_method: str) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", start_method=start_method, processes=2)
        children = worker.children()
        worker.send(signal.SIGKILL)

        wait_until(lambda: not any(map(psutil.pid_exists, children)), message=worker.tail)


def test_no_descriptor_of_the_supervisor_or_of_a_sibling_stays_open_in_a_process(
    tmp_path: Path, start_method: str
) -> None:
    """A sibling's end of a channel that stays open here would hide that the sibling has died."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", start_method=start_method, processes=3, health="127.0.0.1:0")
        listening = [
            child
            for child in worker.children()
            for one in psutil.Process(child).net_connections()
            if one.status == "LISTEN"
        ]
        assert listening == []
        ends = {pid: sockets_of(pid) for pid in (worker.pid, *worker.children())}
        for child in worker.children():
            for other in ends.keys() - {child}:
                assert not ends[child] & ends[other]


def sockets_of(pid: int) -> set[str]:
    """The sockets and pipes of a process, by inode, but for its standard ones."""
    found: set[str] = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if int(entry.name) > 2:
            target = str(entry.readlink())
            if target.startswith(("socket:", "pipe:")):
                found.add(target)
    return found


def test_a_supervisor_with_a_second_thread_does_not_fork(start_method: str) -> None:
    """A lock that the other thread holds at the fork would stay locked in the child for ever."""
    code = (
        "import threading\n"
        "from taskq.worker import Supervisor, WorkerConfig\n"
        "ended = threading.Event()\n"
        "threading.Thread(target=ended.wait, daemon=True).start()\n"
        f"Supervisor(WorkerConfig(app='nowhere:app', start_method={start_method!r})).run()\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert ("the supervisor has one thread" in told.stderr) == (start_method == "fork")
    assert told.returncode != 0
