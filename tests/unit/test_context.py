from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from taskq import Task, TaskContext, TaskQ, current_task
from taskq.context import CURRENT
from taskq.message import Message
from taskq.veil import Veil


class Kept:
    """An outlet that keeps what it is told."""

    is_replay = True

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def veil(self) -> Veil:
        return Veil(["hunter2"])

    def ack(self, context: TaskContext) -> None:
        self.told.append(("ack", context.id))

    def nack(self, context: TaskContext, delay_ms: int | None) -> None:
        self.told.append(("nack", delay_ms))


def noop() -> None: ...


def task_with(**options: Any) -> Task[..., Any]:
    return TaskQ("shop").task(noop, name="shop.noop", **options)


def context_of(task: Task[..., Any], outlet: Kept | None = None, **message: Any) -> TaskContext:
    return TaskContext(
        "0-1", 77, 2, 1, Message("shop.noop", **message), task, {"db": "here"}, outlet or Kept()
    )


@pytest.fixture
def running() -> Iterator[TaskContext]:
    context = context_of(task_with())
    token = CURRENT.set(context)
    yield context
    CURRENT.reset(token)


def test_it_tells_what_runs() -> None:
    context = context_of(task_with(), queue="mail", headers={"trace": "1"}, tags=["a", "b"])
    assert (context.id, context.name, context.queue) == ("0-1", "shop.noop", "mail")
    assert (context.attempt, context.fence) == (4, 77)
    assert (context.headers, context.tags, context.state) == ({"trace": "1"}, ("a", "b"), {"db": "here"})


def test_what_was_not_given_is_empty() -> None:
    context = context_of(task_with())
    assert (context.headers, context.tags) == ({}, ())


def test_current_task_is_the_run_that_the_caller_is_part_of(running: TaskContext) -> None:
    assert current_task() is running


def test_outside_of_a_task_there_is_none() -> None:
    with pytest.raises(RuntimeError, match="outside of a task"):
        current_task()


def test_a_thread_of_its_own_needs_the_context(running: TaskContext) -> None:
    seen: list[Any] = []

    def look() -> None:
        try:
            seen.append(current_task())
        except RuntimeError as error:
            seen.append(str(error))

    for target in (look, partial(contextvars.copy_context().run, look)):
        thread = threading.Thread(target=target)
        thread.start()
        thread.join()
    assert "copy_context" in seen[0]
    assert seen[1] is running


def test_log_lines_carry_the_id(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        context_of(task_with()).log.info("%d%% done", 50, extra={"step": 2})
    [record] = caplog.records
    assert record.getMessage() == "[0-1] 50% done"
    assert vars(record)["task_id"] == "0-1"
    assert vars(record)["task_name"] == "shop.noop"
    assert vars(record)["step"] == 2


class TestManualAck:
    def test_the_word_goes_to_the_worker(self) -> None:
        outlet = Kept()
        context = context_of(task_with(ack="manual"), outlet)
        context.ack()
        context.nack()
        context.nack(delay="5s")
        assert outlet.told == [("ack", "0-1"), ("nack", None), ("nack", 5_000)]

    @pytest.mark.parametrize("mode", ["late", "early"])
    def test_other_tasks_have_no_word(self, mode: str) -> None:
        outlet = Kept()
        context = context_of(task_with(ack=mode), outlet)
        with pytest.raises(RuntimeError, match=f'shop.noop has ack="{mode}"'):
            context.ack()
        with pytest.raises(RuntimeError, match='ack="manual"'):
            context.nack(delay=5)
        assert outlet.told == []
