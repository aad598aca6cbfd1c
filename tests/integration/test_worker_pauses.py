"""Processes that stand still and come back, and supervisors that stop or die: each task's outcome is written once.

A task is settled once a generation; what its ledger shows twice must have been lost by one of the two.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from taskq import State
from tests.support import wait_until
from tests.workers import LEASE_S, Worker, Yard, steadily


def warm_up(yard: Yard, worker: Worker) -> None:
    """Let the worker learn that the task is quick, so that it fetches ahead."""
    yard.wait_ended(yard.send_many("deadly.work", [(0,)] * 30))


def test_a_process_that_stands_still_gives_back_what_it_has_not_started(tmp_path: Path) -> None:
    """What runs keeps its lease and commits when the process goes on; what was taken back starts there no more."""
    with Yard(tmp_path) as yard:
        stopped = yard.worker("deadly", concurrency=1)
        warm_up(yard, stopped)
        [child] = stopped.children()
        with stopped.paused():
            long = yard.send("deadly.work", 0.8)
            waiting = yard.send_many("deadly.work", [(0,)] * 10)
        yard.ledger.wait("start", long.id)
        os.kill(child, signal.SIGSTOP)
        other = yard.worker("deadly", concurrency=1)

        assert yard.wait_ended(waiting, timeout=10) == {"succeeded": 10}
        assert long.status() is State.RUNNING
        steadily(lambda: len(yard.ledger.starts(long.id)) == 1, LEASE_S, "what runs was taken away")
        os.kill(child, signal.SIGCONT)

        assert long.result(timeout=10) == 1
        assert {len(yard.ledger.starts(handle.id)) for handle in [long, *waiting]} == {1}
        assert stopped.says("does not answer")
        assert stopped.children() == [child]
        for worker in (stopped, other):
            assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_process_that_stands_still_past_the_timeout_of_its_task_is_killed(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=1)
        handle = yard.send("deadly.work", 0.3, timeout=0.5)
        [start] = yard.ledger.wait("start", handle.id)
        os.kill(start.pid, signal.SIGSTOP)

        assert handle.result(timeout=15) == 2
        assert len(yard.ledger.starts(handle.id)) == 2
        assert worker.stop() == 0


def test_a_worker_that_stood_still_past_its_lease_commits_nothing_of_what_another_took_over(
    tmp_path: Path,
) -> None:
    with Yard(tmp_path) as yard:
        stopped = yard.worker("deadly", concurrency=4)
        [old] = [one.id for one in yard.processes(stopped)]
        handles = [yard.send("deadly.work", 1) for _ in range(4)]
        yard.ledger.wait("start", count=4)
        with stopped.paused():
            other = yard.worker("deadly", concurrency=4)
            yard.ledger.wait("start", count=5, timeout=20)
        ended_there = yard.ledger.wait("end", count=1)

        assert yard.wait_ended(handles) == {"succeeded": 4}
        assert ended_there
        wait_until(
            lambda: len(stopped.says(" was lost")) == 4,
            message=lambda: f"the loss of 4 tasks to be logged:\n{stopped.tail()}",
        )
        assert yard.stats()["S"] == 4
        assert old not in {handle.info().process for handle in handles}
        yard.wait_ready(stopped)
        assert yard.send("deadly.work", 0).result(timeout=10) == 1
        for worker in (stopped, other):
            assert worker.stop() == 0
        assert yard.leftovers() == []


def test_when_its_supervisor_dies_a_process_ends_what_it_runs_and_then_itself(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", processes=2, concurrency=2)
        children = worker.children()
        handles = [yard.send(f"deadly.{task}", LEASE_S + 1) for task in ("work", "awork")]
        yard.ledger.wait("start", count=2)
        other = yard.worker("deadly", concurrency=2)

        worker.send(signal.SIGKILL)
        worker.wait()
        late = yard.send("deadly.work", 0)

        assert late.result(timeout=10) == 1
        assert yard.ledger.starts(late.id)[0].pid in other.children()
        assert yard.wait_ended(handles) == {"succeeded": 2}
        assert {len(yard.ledger.starts(handle.id)) for handle in handles} == {1}
        wait_until(lambda: not any(map(psutil.pid_exists, children)), message="the processes to end")
        assert other.stop(timeout=20) == 0


def test_while_its_supervisor_stands_still_a_process_keeps_its_own_lease(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=2)
        other = yard.worker("deadly", queues=("nothing",))
        handles = [yard.send(f"deadly.{task}", LEASE_S + 2) for task in ("work", "awork")]
        yard.ledger.wait("start", count=2)
        before = {one.id for one in yard.processes(worker)}
        worker.send(signal.SIGSTOP)

        assert yard.wait_ended(handles) == {"succeeded": 2}
        assert {one.id for one in yard.processes(worker)} == before
        worker.send(signal.SIGCONT)

        assert {len(yard.ledger.starts(handle.id)) for handle in handles} == {1}
        assert not other.says("has not beaten")
        for one in (worker, other):
            assert one.stop() == 0
        assert yard.leftovers() == []


@pytest.mark.parametrize("lease", [1.0, LEASE_S])
def test_nobody_who_lives_is_reaped(tmp_path: Path, lease: float) -> None:
    """Tasks that take several leases, and idle processes, among sweepers that look often."""
    with Yard(tmp_path) as yard:
        workers = [yard.worker("deadly", lease_ms=round(lease * 1_000), concurrency=2) for _ in range(2)]
        before = {one.id for one in yard.processes()}
        handles = [yard.send(f"deadly.{task}", 4.5) for task in ("work", "awork")]

        assert yard.wait_ended(handles) == {"succeeded": 2}
        assert {len(yard.ledger.starts(handle.id)) for handle in handles} == {1}
        assert {one.id for one in yard.processes()} == before
        for worker in workers:
            assert worker.stop() == 0
            words = ("has not beaten", "does not answer", "stood still", "given up")
            assert not [line for word in words for line in worker.says(word)]
        assert yard.leftovers() == []


def test_a_blocked_event_loop_keeps_its_lease(tmp_path: Path) -> None:
    """The engine has a thread of its own, so that no user code can stall beats and settles."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("endings", concurrency=2)
        blocker = yard.send("endings.awedged", timeout=20)
        yard.ledger.wait("start", blocker.id)

        began = time.monotonic()
        for _ in range(5):
            yard.send("endings.turn", 0).result(timeout=5)
        assert time.monotonic() - began < LEASE_S
        steadily(lambda: len(yard.processes(worker)) == 1, LEASE_S + 1, "the process has lost its lease")
        assert len(yard.ledger.starts(blocker.id)) == 1
