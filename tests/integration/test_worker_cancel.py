"""Cancels and expiry, before the start and while it runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq import State, TaskCancelled, TaskExpired, TaskFailed
from tests.support import wait_until
from tests.workers import Worker, Yard, steadily

TWICE = pytest.mark.parametrize("a", ["", "a"], ids=["sync", "async"])


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with Yard(tmp_path_factory.mktemp("cancels")) as yard:
        yield yard


@pytest.fixture(scope="module")
def worker(yard: Yard) -> Iterator[Worker]:
    worker = yard.worker("endings", queues=("default", "other"))
    yield worker
    assert worker.stop() == 0
    assert yard.leftovers() == []


def test_a_task_that_was_cancelled_while_it_waits_never_starts(yard: Yard, worker: Worker) -> None:
    with worker.paused():
        handles = yard.send_many("endings.turn", [(0,)] * 5)
        assert {handle.cancel() for handle in handles[1:4]} == {State.CANCELLED}

    assert yard.wait_ended(handles) == {"succeeded": 2, "cancelled": 3}
    with pytest.raises(TaskCancelled):
        handles[1].result(timeout=5)
    assert [len(yard.ledger.starts(handle.id)) for handle in handles] == [1, 0, 0, 0, 1]


def test_a_task_that_was_cancelled_before_it_is_due_never_starts(yard: Yard, worker: Worker) -> None:
    cancelled = yard.send("endings.turn", 0, delay=0.3)
    after = yard.send("endings.turn", 0, delay=0.4)
    assert cancelled.status() is State.SCHEDULED

    assert cancelled.cancel() is State.CANCELLED

    after.result(timeout=10)
    assert not yard.ledger.starts(cancelled.id)


@pytest.mark.parametrize("task", ["turn", "anap"], ids=["sync", "async"])
def test_a_running_task_is_interrupted(yard: Yard, worker: Worker, task: str) -> None:
    handle = yard.send(f"endings.{task}", 30)
    yard.ledger.wait("start", handle.id)

    assert handle.cancel() is State.RUNNING

    with pytest.raises(TaskCancelled):
        handle.result(timeout=10)
    assert len(yard.ledger.entries("left", handle.id)) == 1
    assert handle.cancel() is State.CANCELLED


@TWICE
def test_a_task_may_swallow_its_cancel_and_then_it_has_succeeded(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"endings.{a}swallow")
    yard.ledger.wait("start", handle.id)

    handle.cancel()

    assert handle.result(timeout=10) == "would not stop"
    [entry] = yard.ledger.entries("swallowed", handle.id)
    assert entry.words[0] == ("CancelledError" if a else "CancelRequested")


@TWICE
def test_a_task_that_fails_because_of_its_cancel_is_not_retried(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"endings.{a}fail_when_cancelled")
    yard.ledger.wait("start", handle.id)

    handle.cancel()

    with pytest.raises(TaskCancelled):
        handle.result(timeout=10)
    assert len(yard.ledger.starts(handle.id)) == 1


def test_a_cancel_inside_of_a_task_is_a_failure(yard: Yard, worker: Worker) -> None:
    handle = yard.send("endings.cancels_itself", max_retries=0)

    with pytest.raises(TaskFailed, match="something that the task awaited was cancelled"):
        handle.result(timeout=10)


def test_a_cancel_that_comes_too_late_changes_nothing(yard: Yard, worker: Worker) -> None:
    handle = yard.send("endings.turn", 0)
    handle.result(timeout=10)

    assert handle.cancel() is State.SUCCEEDED
    assert handle.result(timeout=5) == 0


def test_a_cancel_of_one_task_leaves_its_neighbours_alone(yard: Yard, worker: Worker) -> None:
    tasks = ["turn", "anap", "turn", "anap"]
    handles = [yard.send(f"endings.{task}", 2) for task in tasks]
    yard.ledger.wait("start", handles[-1].id)

    for handle in handles[:2]:
        handle.cancel()

    assert yard.wait_ended(handles) == {"cancelled": 2, "succeeded": 2}


def test_a_task_that_is_cancelled_in_a_process_that_then_dies_does_not_run_again(tmp_path: Path) -> None:
    """It sits in C code, so the cancel does not reach it; then its process is killed."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("endings")
        handle = yard.send("endings.nap", 30)
        [start] = yard.ledger.wait("start", handle.id)
        assert handle.cancel() is State.RUNNING

        os.kill(start.pid, signal.SIGKILL)

        with pytest.raises(TaskCancelled):
            handle.result(timeout=5)
        yard.wait_ready(worker)
        yard.send("endings.turn", 0).result(timeout=10)
        assert len(yard.ledger.starts(handle.id)) == 1
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_task_that_nobody_claims_expires(yard: Yard, worker: Worker) -> None:
    """Any claim files what is due, so it takes no worker that serves that queue."""
    handle = yard.send("endings.turn", 0, queue="nobody", expires=0.3)
    early = yard.send("endings.turn", 0, expires=30)

    with pytest.raises(TaskExpired):
        handle.result(timeout=10)
    assert early.result(timeout=10) == 0
    late = yard.worker("endings", queues=("nobody",), burst=True, wait=False)
    assert late.wait() == 0
    assert not yard.ledger.starts(handle.id)


def test_a_scheduled_task_expires_before_it_is_due(yard: Yard, worker: Worker) -> None:
    handle = yard.send("endings.turn", 0, delay=30, expires=0.3)

    with pytest.raises(TaskExpired):
        handle.result(timeout=10)
    assert not yard.ledger.starts(handle.id)


def test_a_task_that_expires_while_it_waits_in_a_process_never_starts(tmp_path: Path) -> None:
    """Quick tasks are fetched ahead; then one of them is slow, and the rest expire behind it."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("endings", concurrency=1)
        yard.wait_ended(yard.send_many("endings.turn", [(0,)] * 20))
        with worker.paused():
            blocker = yard.send("endings.nap", 1.5)
            handles = yard.send_many("endings.turn", [(0,)] * 20, expires=0.7)

        assert yard.wait_ended(handles) == {"expired": 20}
        assert blocker.result(timeout=10) == 1.5
        assert not [handle for handle in handles if yard.ledger.starts(handle.id)]
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_cancelled_task_in_the_back_off_of_a_retry_never_runs_again(yard: Yard, worker: Worker) -> None:
    handle = yard.send("endings.cancels_itself", queue="other")
    yard.ledger.wait("left", handle.id)
    wait_until(lambda: handle.status() is State.SCHEDULED)

    assert handle.cancel() is State.CANCELLED

    steadily(lambda: len(yard.ledger.starts(handle.id)) == 1, 1.5, "a cancelled task has run again")
