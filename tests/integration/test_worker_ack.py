"""When a task is settled: after its run, at its start, by its own word."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from taskq import ResultNotStored, State, TaskFailed
from tests.support import wait_until
from tests.workers import Worker, Yard

TWICE = pytest.mark.parametrize("a", ["", "a"], ids=["sync", "async"])


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with Yard(tmp_path_factory.mktemp("acks")) as yard:
        yield yard


@pytest.fixture(scope="module")
def worker(yard: Yard) -> Iterator[Worker]:
    worker = yard.worker("acks")
    yield worker
    assert worker.stop() == 0
    assert yard.leftovers() == []


def kill_where_it_runs(yard: Yard, id: str) -> None:
    os.kill(yard.ledger.wait("start", id)[-1].pid, signal.SIGKILL)


@TWICE
def test_an_early_task_is_settled_before_it_ends(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"acks.{a}early", 0.5)

    wait_until(lambda: handle.status() is State.SUCCEEDED)
    assert not yard.ledger.ends(handle.id)
    yard.ledger.wait("end", handle.id)
    with pytest.raises(ResultNotStored):
        handle.result(timeout=5)


@TWICE
def test_an_early_task_that_was_killed_never_runs_again(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"acks.{a}early", 30)
    kill_where_it_runs(yard, handle.id)
    yard.wait_ready(worker)

    other = yard.send(f"acks.{a}late")

    other.result(timeout=10)
    assert handle.status() is State.SUCCEEDED
    assert len(yard.ledger.starts(handle.id)) == 1


@TWICE
def test_an_early_task_that_fails_is_not_retried(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"acks.{a}early_failure")
    yard.ledger.wait("left", handle.id)

    yard.send(f"acks.{a}late").result(timeout=10)

    assert handle.status() is State.SUCCEEDED
    assert len(yard.ledger.starts(handle.id)) == 1


@TWICE
def test_a_late_task_that_was_killed_runs_again(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"acks.{a}late", 1)
    kill_where_it_runs(yard, handle.id)

    handle.result(timeout=10)

    assert [entry.attempt for entry in yard.ledger.starts(handle.id)] == [1, 2]
    assert len(yard.ledger.ends(handle.id)) == 1


@TWICE
def test_a_task_that_acknowledges_has_succeeded_from_then_on(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"acks.{a}manual", "ack", None, 0.5)

    wait_until(lambda: handle.status() is State.SUCCEEDED)
    assert not yard.ledger.ends(handle.id)
    yard.ledger.wait("end", handle.id)
    assert len(yard.ledger.starts(handle.id)) == 1


@TWICE
def test_a_task_that_was_killed_after_it_acknowledged_does_not_run_again(
    yard: Yard, worker: Worker, a: str
) -> None:
    handle = yard.send(f"acks.{a}manual", "ack", None, 30)
    wait_until(lambda: handle.status() is State.SUCCEEDED)
    kill_where_it_runs(yard, handle.id)
    yard.wait_ready(worker)

    yard.send(f"acks.{a}late").result(timeout=10)

    assert len(yard.ledger.starts(handle.id)) == 1


@TWICE
def test_what_a_task_raises_after_it_acknowledged_counts_no_more(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"acks.{a}manual", "ack and raise")
    yard.ledger.wait("left", handle.id)

    yard.send(f"acks.{a}late").result(timeout=10)

    assert handle.status() is State.SUCCEEDED
    assert len(yard.ledger.starts(handle.id)) == 1


@TWICE
def test_a_task_acknowledges_once(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"acks.{a}manual", "twice")

    yard.ledger.wait("refused", handle.id)
    wait_until(lambda: handle.status() is State.SUCCEEDED)


@TWICE
def test_a_task_that_says_no_runs_again_after_its_delay(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"acks.{a}manual", "nack once", 0.3)

    wait_until(lambda: handle.status() is State.SUCCEEDED)
    first, second = yard.ledger.starts(handle.id)
    assert 0.298 <= second.at - first.at < 1.3
    assert (first.attempt, second.attempt) == (1, 2)


@TWICE
def test_a_task_that_always_says_no_fails_in_the_end(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"acks.{a}manual", "nack")

    with pytest.raises(TaskFailed, match="nack"):
        handle.result(timeout=10)
    assert len(yard.ledger.starts(handle.id)) == 3


@TWICE
def test_a_manual_task_that_says_nothing_has_failed(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"acks.{a}manual", "")

    with pytest.raises(TaskFailed, match=r"without ack\(\) or nack\(\)"):
        handle.result(timeout=10)
    assert len(yard.ledger.starts(handle.id)) == 3


def test_a_task_that_is_not_manual_has_no_word(yard: Yard, worker: Worker) -> None:
    with pytest.raises(TaskFailed, match="manual"):
        yard.send("acks.not_manual").result(timeout=10)


def test_early_tasks_that_wait_behind_a_slow_one_all_run(yard: Yard, worker: Worker) -> None:
    """Settled at the start means: what was settled is started, however long it waits for a thread."""
    slow = yard.worker("acks", queues=("slow",), concurrency=1)
    warm = yard.send_many("acks.early", [()] * 50, queue="slow")
    yard.wait_ended(warm)
    yard.ledger.wait("end", warm[-1].id)

    with slow.paused():
        handles = yard.send_many("acks.early", [(0.3,), *[(0.0,)] * 30], queue="slow")

    yard.wait_ended(handles)
    slow.stop()
    wait_until(
        lambda: {handle.id for handle in handles} <= set(yard.ledger.counts("end")),
        timeout=5,
        message="all that was settled to run",
    )
