"""What becomes of a task, as whoever has enqueued it sees it: each way, sync and async."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from taskq import ResultNotStored, TaskFailed, TaskHandle
from tests.workers import Yard

TWICE = pytest.mark.parametrize("a", ["", "a"], ids=["sync", "async"])


@pytest.fixture(scope="module", params=["redis", "valkey"])
def yard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with Yard(tmp_path_factory.mktemp("outcomes"), request.param) as yard:
        worker = yard.worker("outcomes")
        yield yard
        assert worker.stop() == 0
        assert yard.leftovers() == []


def attempts(yard: Yard, handle: TaskHandle[Any]) -> list[int]:
    return [entry.attempt for entry in yard.ledger.starts(handle.id)]


def failure(handle: TaskHandle[Any]) -> TaskFailed:
    with pytest.raises(TaskFailed) as caught:
        handle.result(timeout=10)
    return caught.value


VALUES = [
    None, 2**70, "ů", b"\xff", [1, [2]], {"a": (1, 2)}, Decimal("0.1"), {1}, datetime(2030, 1, 1, tzinfo=UTC),
    UUID(int=1),
]  # fmt: skip


@TWICE
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_a_task_returns_arrives_as_it_was(yard: Yard, a: str, value: object) -> None:
    handle = yard.send(f"outcomes.{a}echo", value)

    result = handle.result(timeout=10)

    assert result == value
    assert type(result) is type(value)
    assert attempts(yard, handle) == [1]


@TWICE
def test_arguments_arrive_as_annotated(yard: Yard, a: str) -> None:
    handle = yard.send(f"outcomes.{a}move", {"x": 1, "y": 2}, 10)

    assert handle.result(timeout=10) == {"x": 11, "y": 12}


@TWICE
def test_a_task_that_failed_runs_again_until_it_succeeds(yard: Yard, a: str) -> None:
    handle = yard.send(f"outcomes.{a}fail", 3)

    assert handle.result(timeout=10) == 3
    assert attempts(yard, handle) == [1, 2, 3]


@TWICE
def test_retries_come_after_the_delays_of_the_policy(yard: Yard, a: str) -> None:
    handle = yard.send(f"outcomes.{a}back_off", 5)

    assert handle.result(timeout=10) == 5
    at = [entry.at for entry in yard.ledger.starts(handle.id)]
    gaps = [later - earlier for earlier, later in pairwise(at)]
    for gap, delay in zip(gaps, [0.1, 0.2, 0.3, 0.3], strict=True):
        assert delay - 0.002 <= gap < delay + 1


@TWICE
def test_retries_end_with_the_last_one_that_the_policy_has(yard: Yard, a: str) -> None:
    handle = yard.send(f"outcomes.{a}fail", 99)

    assert "not yet" in str(failure(handle))
    assert attempts(yard, handle) == [1, 2, 3, 4]
    assert handle.info().attempt == 4


@TWICE
@pytest.mark.parametrize("retries", [0, 1])
def test_a_call_may_have_retries_of_its_own(yard: Yard, a: str, retries: int) -> None:
    handle = yard.send(f"outcomes.{a}fail", 99, max_retries=retries)

    failure(handle)
    assert attempts(yard, handle) == list(range(1, retries + 2))


@TWICE
def test_a_task_names_the_delay_of_its_retry(yard: Yard, a: str) -> None:
    handle = yard.send(f"outcomes.{a}again", 3, 0.2)

    assert handle.result(timeout=10) == 3
    first, second, third = (entry.at for entry in yard.ledger.starts(handle.id))
    assert 0.198 <= second - first < 1.2
    assert 0.198 <= third - second < 1.2


@TWICE
def test_a_retry_after_of_the_error_counts_more_than_the_policy(yard: Yard, a: str) -> None:
    handle = yard.send(f"outcomes.{a}busy", 2, 0.3)

    assert handle.result(timeout=10) == 2
    first, second = (entry.at for entry in yard.ledger.starts(handle.id))
    assert 0.298 <= second - first < 1.3


@TWICE
def test_a_task_that_rejects_fails_at_once(yard: Yard, a: str) -> None:
    handle = yard.send(f"outcomes.{a}reject")

    error = failure(handle)

    assert "this address is no address" in str(error)
    assert error.type == "taskq.retry.Reject"
    assert attempts(yard, handle) == [1]


@TWICE
def test_only_the_errors_that_are_named_are_retried(yard: Yard, a: str) -> None:
    good, bad = (yard.send(f"outcomes.{a}only_fickle", error) for error in ("fickle", "other"))

    assert good.result(timeout=10) == 2
    assert failure(bad).type == "KeyError"
    assert attempts(yard, bad) == [1]


@TWICE
def test_errors_that_are_excluded_are_not_retried(yard: Yard, a: str) -> None:
    good, bad = (yard.send(f"outcomes.{a}never_key", error) for error in ("other", "key"))

    assert good.result(timeout=10) == 2
    assert failure(bad).type == "KeyError"
    assert attempts(yard, bad) == [1]


@TWICE
def test_a_failure_carries_the_traceback_as_text(yard: Yard, a: str) -> None:
    handle = yard.send(f"outcomes.{a}fail", 99, "the cause of it all", max_retries=0)

    error = failure(handle)

    assert error.id == handle.id
    assert error.type == "ValueError"
    assert "ValueError: the cause of it all" in error.traceback
    assert "in fail_until" in error.traceback
    info = handle.info()
    assert info.error is not None
    assert info.error.message == "the cause of it all"
    assert info.args == (99, "the cause of it all")


@TWICE
def test_a_result_that_cannot_travel_fails_for_good_and_names_the_place(yard: Yard, a: str) -> None:
    handle = yard.send(f"outcomes.{a}unspeakable")

    error = failure(handle)

    assert error.type == "taskq.errors.NotEncodable"
    assert "['rows'][1]" in str(error)
    assert attempts(yard, handle) == [1]


POINT = {"x": 1, "y": 2}


@TWICE
@pytest.mark.parametrize(
    ("args", "named"),
    [((), "point"), (({"x": "one", "y": 2},), "point"), ((POINT, "ten"), "by"), ((POINT, 1, 1), "")],
)
def test_arguments_that_do_not_fit_fail_for_good_and_name_the_parameter(
    yard: Yard, a: str, args: tuple[Any, ...], named: str
) -> None:
    handle = yard.send(f"outcomes.{a}move", *args)

    error = failure(handle)

    assert error.type == "taskq.errors.ArgumentMismatch"
    assert named in str(error)
    assert attempts(yard, handle) == []
    info = handle.info()
    assert info.attempt == 1


SIGNALS = [("exit", "SystemExit"), ("interrupt", "KeyboardInterrupt"), ("generator", "GeneratorExit")]


@TWICE
@pytest.mark.parametrize(("how", "name"), SIGNALS)
def test_what_would_end_a_program_ends_only_the_task(yard: Yard, a: str, how: str, name: str) -> None:
    before = [process.id for process in yard.processes()]

    error = failure(yard.send(f"outcomes.{a}leave", how))

    assert error.type == name
    assert [process.id for process in yard.processes()] == before


def test_an_error_without_a_text_is_stored_without_one(yard: Yard) -> None:
    error = failure(yard.send("outcomes.mute"))

    assert error.type.endswith("Mute")
    assert "cannot be made" in str(error)


def test_a_huge_failure_is_cut(yard: Yard) -> None:
    handle = yard.send("outcomes.deep", 500)

    error = failure(handle)

    assert len(error.traceback) < 20_000
    assert "characters left out" in error.traceback
    assert error.traceback.startswith("Traceback")


def test_a_result_may_be_kept_not_at_all(yard: Yard) -> None:
    handle = yard.send("outcomes.echo", 1, result_ttl=0)

    with pytest.raises(ResultNotStored):
        handle.result(timeout=10)
    assert attempts(yard, handle) == [1]


def test_each_task_ran_as_often_as_it_says(yard: Yard) -> None:
    handles = yard.send_many("outcomes.echo", [(n,) for n in range(500)])

    assert [handle.result(timeout=20) for handle in handles] == list(range(500))
    counts = yard.ledger.counts()
    assert {counts[handle.id] for handle in handles} == {1}
