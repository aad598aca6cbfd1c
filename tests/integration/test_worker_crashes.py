"""A process that dies: what it ran is back within a second, and only what killed it is charged."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from taskq import TaskFailed, TaskHandle
from tests.support import wait_until
from tests.workers import LEASE_S, Yard

WAYS = ["exit", "clean", "kill", "segv", "abort"]
BOUND_S = 1.0
"""Within this a dead child's tasks are back: its supervisor saw it end (clause 4 of the promise)."""


def started_again(yard: Yard, handle: TaskHandle[Any], starts: int) -> bool:
    return len(yard.ledger.starts(handle.id)) > starts or handle.ready()


def test_a_task_whose_process_was_killed_is_back_within_a_second_and_charged(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", processes=2, concurrency=2)
        handle = yard.send("deadly.work", 1.2)
        [start] = yard.ledger.wait("start", handle.id)

        os.kill(start.pid, signal.SIGKILL)
        second = yard.ledger.wait("start", handle.id, count=2)[1]

        assert second.at - start.at < BOUND_S + 0.2
        assert second.attempt == 2
        assert handle.info().crashes == 1
        assert handle.result(timeout=10) == 2
        wait_until(lambda: len(worker.children()) == 2)
        assert worker.says(f"pid {start.pid} ended by signal SIGKILL")
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_of_several_tasks_in_a_process_that_was_killed_none_is_charged_and_each_runs_alone(
    tmp_path: Path,
) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", processes=2, concurrency=8)
        handles = [yard.send(f"deadly.{task}", 0.4) for task in ["work", "awork"] * 4]
        starts = yard.ledger.wait("start", count=8)
        victim = starts[0].pid
        there = {entry.id for entry in starts if entry.pid == victim}
        assert len(there) >= 2

        os.kill(victim, signal.SIGKILL)

        assert yard.wait_ended(handles, timeout=20) == {"succeeded": 8}
        assert {handle.result() for handle in handles} == {1}
        again = [run for run in yard.ledger.runs() if run[0].id in there and run[0].pid != victim]
        assert {entry.id for entry, _ in again} == there
        for entry, end in again:
            neighbours = [
                other
                for other, over in yard.ledger.runs()
                if other.pid == entry.pid and other.id != entry.id and other.at < end and entry.at < over
            ]
            assert not neighbours, f"{entry} ran beside {neighbours}"
        assert worker.stop() == 0
        assert yard.leftovers() == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("task", ["poison", "apoison"], ids=["sync", "async"])
def test_a_task_that_kills_its_process_is_started_three_times_and_dead_lettered(
    tmp_path: Path, task: str, way: str
) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly")
        handle = yard.send(f"deadly.{task}", way)

        with pytest.raises(TaskFailed, match="CrashedTooOften"):
            handle.result(timeout=20)

        assert [entry.attempt for entry in yard.ledger.starts(handle.id)] == [1, 2, 3]
        assert len({entry.pid for entry in yard.ledger.starts(handle.id)}) == 3
        assert handle.info().args == (way,)
        yard.wait_ready(worker)
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_task_that_kills_the_very_first_process_at_once_does_not_end_the_worker(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        poisons = [yard.send("deadly.poison", way) for way in ("exit", "segv")]
        worker = yard.worker("deadly", concurrency=1, wait=False)

        assert yard.wait_ended(poisons, timeout=20) == {"failed": 2}
        assert [len(yard.ledger.starts(handle.id)) for handle in poisons] == [3, 3]
        yard.wait_ready(worker)
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_task_that_kills_its_process_among_others_takes_none_of_them_along(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", processes=2, concurrency=4)
        innocents = [yard.send(f"deadly.{task}", 0.1) for task in ["work", "awork"] * 10]
        poisons = [yard.send("deadly.poison", way, 0.05) for way in ("exit", "segv")]
        innocents += [yard.send(f"deadly.{task}", 0.1) for task in ["work", "awork"] * 10]

        assert yard.wait_ended(innocents, timeout=40) == {"succeeded": 40}
        assert yard.wait_ended(poisons, timeout=40) == {"failed": 2}

        assert {handle.result() for handle in innocents} == {1}
        for handle in poisons:
            assert len(yard.ledger.starts(handle.id)) <= 3 + 1
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_failures_and_crashes_count_apart(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly")
        once, both = yard.send("deadly.poison_once", "kill"), yard.send("deadly.fail_then_die")

        assert once.result(timeout=20) == 2
        assert both.result(timeout=20) == 4
        assert worker.stop() == 0
        assert yard.leftovers() == []


@pytest.mark.parametrize("running", [1, 3])
def test_what_a_host_ran_that_died_is_taken_over_by_another_one(tmp_path: Path, running: int) -> None:
    with Yard(tmp_path) as yard:
        lost = yard.worker("deadly", concurrency=4)
        handles = [yard.send("deadly.work", 0.5) for _ in range(running)]
        yard.ledger.wait("start", count=running)
        other = yard.worker("deadly", concurrency=4, wait=False)

        lost.send_all(signal.SIGKILL)
        killed_at = max(entry.at for entry in yard.ledger.starts())
        yard.wait_ready(other)

        assert yard.wait_ended(handles) == {"succeeded": running}
        again = [entry for entry in yard.ledger.starts() if entry.at > killed_at]
        # Nobody testifies, so nobody is charged; from now on a start is noted first.
        assert [entry.attempt for entry in again] == [1] * running
        sweep_s = 1.0
        assert min(entry.at for entry in again) - killed_at < LEASE_S + 2 * sweep_s + 1
        assert other.stop() == 0
        assert yard.leftovers() == []


def test_a_task_that_kills_its_host_is_started_four_times_at_most(tmp_path: Path) -> None:
    """Each host dies whole: the first loss is nobody's fault, each later one is charged."""
    with Yard(tmp_path) as yard:
        handle = yard.send("deadly.work", 60)
        starts = 0
        while not handle.ready():
            worker = yard.worker("deadly", lease_ms=1_000)
            wait_until(partial(started_again, yard, handle, starts), timeout=20)
            if handle.ready():
                assert worker.stop() == 0
                break
            starts += 1
            worker.send_all(signal.SIGKILL)
            worker.end()

        with pytest.raises(TaskFailed, match="CrashedTooOften"):
            handle.result(timeout=5)
        assert [entry.attempt for entry in yard.ledger.starts(handle.id)] == [1, 1, 2, 3]
        assert yard.leftovers() == []


def test_what_waited_in_a_process_that_was_killed_is_not_charged(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=1)
        warm = yard.send_many("deadly.work", [(0,)] * 20)
        yard.wait_ended(warm)
        with worker.paused():
            blocker = yard.send("deadly.poison", "kill", 0.03)
            waiting = yard.send_many("deadly.work", [(0,)] * 20)

        assert yard.wait_ended(waiting, timeout=20) == {"succeeded": 20}
        assert {handle.result() for handle in waiting} == {1}
        assert yard.wait_ended([blocker], timeout=20) == {"failed": 1}
        assert worker.stop() == 0
        assert yard.leftovers() == []
