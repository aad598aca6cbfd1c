"""Soft and hard timeouts: what a task can still do, and what is done to one that does not end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq import TaskFailed
from tests.workers import Worker, Yard

TWICE = pytest.mark.parametrize("a", ["", "a"], ids=["sync", "async"])


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with Yard(tmp_path_factory.mktemp("timeouts")) as yard:
        yield yard


@pytest.fixture(scope="module")
def worker(yard: Yard) -> Iterator[Worker]:
    worker = yard.worker("endings")
    yield worker
    assert worker.stop() == 0
    assert yard.leftovers() == []


@TWICE
def test_a_soft_timeout_can_be_caught_and_cleaned_up_after(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"endings.{a}soft", True)

    assert handle.result(timeout=10) == "cleaned up"
    [start], [soft] = yard.ledger.starts(handle.id), yard.ledger.entries("soft", handle.id)
    assert 0.298 <= soft.at - start.at < 1.3


@TWICE
def test_a_soft_timeout_that_is_not_caught_is_a_failure(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"endings.{a}soft", False)

    with pytest.raises(TaskFailed) as caught:
        handle.result(timeout=10)
    assert caught.value.type == "taskq.errors.SoftTimeout"


def test_an_early_task_has_its_soft_timeout_too(yard: Yard, worker: Worker) -> None:
    handle = yard.send("endings.early_soft")

    [soft] = yard.ledger.wait("soft", handle.id)
    [start] = yard.ledger.starts(handle.id)
    assert 0.298 <= soft.at - start.at < 0.9


@TWICE
def test_a_task_that_goes_on_after_the_soft_timeout_meets_the_hard_one(
    yard: Yard, worker: Worker, a: str
) -> None:
    handle = yard.send(f"endings.{a}soft_then_hard")

    with pytest.raises(TaskFailed, match="did not end within its timeout of 1 s"):
        handle.result(timeout=10)
    [start], [soft] = yard.ledger.starts(handle.id), yard.ledger.entries("soft", handle.id)
    [left] = yard.ledger.entries("left", handle.id)
    assert soft.at - start.at < 0.998 <= left.at - start.at < 2


@TWICE
def test_a_hard_timeout_ends_the_run_and_counts_as_a_failure(yard: Yard, worker: Worker, a: str) -> None:
    before = worker.children()
    handle = yard.send(f"endings.{a}hard")

    with pytest.raises(TaskFailed, match=r"did not end within its timeout of 0\.5 s"):
        handle.result(timeout=10)

    assert [entry.attempt for entry in yard.ledger.starts(handle.id)] == [1, 2]
    for start, end in yard.ledger.runs():
        if start.id == handle.id:
            assert 0.498 <= end - start.at < 1.5
    assert not yard.ledger.entries("swallowed", handle.id)
    assert worker.children() == before


@TWICE
def test_a_call_may_have_a_timeout_of_its_own(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"endings.{a or ''}{'nap' if a else 'turn'}", 10, timeout=0.4, max_retries=0)

    with pytest.raises(TaskFailed, match=r"timeout of 0\.4 s"):
        handle.result(timeout=10)


@TWICE
def test_without_a_timeout_a_task_runs_as_long_as_it_takes(yard: Yard, worker: Worker, a: str) -> None:
    assert yard.send(f"endings.{a}endless", 1.5).result(timeout=10) == 1.5


def test_a_call_may_have_no_timeout_though_its_task_has(yard: Yard, worker: Worker) -> None:
    assert yard.send("endings.brief", 1, timeout=None).result(timeout=10) == 1
    with pytest.raises(TaskFailed, match=r"timeout of 0\.3 s"):
        yard.send("endings.brief", 1).result(timeout=10)


def test_a_process_is_killed_for_a_task_that_nothing_else_ends(tmp_path: Path) -> None:
    """And only that task is charged: its neighbours go back as they were, and run again."""
    with Yard(tmp_path) as yard:
        # Three ways, each in a worker of its own. A wedged loop holds up all that is async: neighbours are sync.
        tasks = ["wedged", "awedged", "stubborn"]
        workers = [yard.worker("endings", concurrency=4, queues=(task,)) for task in tasks]
        old = {pid for worker in workers for pid in worker.children()}
        neighbours = [yard.send("endings.turn", 4.5, queue=task) for task in tasks for _ in range(3)]
        yard.ledger.wait("start", count=9)
        culprits = [yard.send(f"endings.{task}", queue=task) for task in tasks]
        starts = [yard.ledger.wait("start", culprit.id)[0] for culprit in culprits]

        assert yard.wait_ended(culprits, timeout=20) == {"failed": 3}
        for culprit in culprits:
            with pytest.raises(TaskFailed, match="CrashedTooOften"):
                culprit.result(timeout=1)
            assert len(yard.ledger.starts(culprit.id)) == 1
        assert {handle.info().crashes for handle in neighbours} == {0}
        assert yard.wait_ended(neighbours, timeout=20) == {"succeeded": 9}

        for worker, culprit, start in zip(workers, culprits, starts, strict=True):
            assert set(worker.children()).isdisjoint(old)
            [line] = worker.says("did not heed")
            assert line["level"] == "error"
            again = [entry.at for entry in yard.ledger.starts() if entry.pid in worker.children()]
            assert 0.5 + 3 - 0.01 <= min(again) - start.at < 6, culprit
            assert worker.stop() == 0
        assert yard.leftovers() == []
