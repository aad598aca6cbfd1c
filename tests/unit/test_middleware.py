from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from taskq import Middleware, TaskContext, TaskQ
from taskq.errors import ConfigurationError
from taskq.message import Message
from taskq.middleware import FailureLog, Hooks, arun, run
from tests.unit.test_context import context_of, task_with
from tests.unit.wire import WiredApp

CONTEXT = context_of(task_with())


class Notes(Middleware):
    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    def before_task(self, context: TaskContext) -> None:
        self.notes.append(f"before {self.name}")

    async def after_task(self, context: TaskContext, result: Any, error: BaseException | None) -> None:
        await asyncio.sleep(0)
        self.notes.append(f"after {self.name} {result} {error}")


class Broken(Middleware):
    def before_task(self, context: TaskContext) -> None:
        raise KeyError("sync")

    async def after_task(self, context: TaskContext, result: Any, error: BaseException | None) -> None:
        raise ValueError("async")


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread of its own, as a worker's does."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(autouse=True)
def reported_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskq.middleware._reported", set())


def test_only_what_is_overridden_is_called(notes: list[str]) -> None:
    hooks = Hooks([Middleware(), Notes("a", notes)])
    assert len(hooks.before_task) == 1
    assert hooks.before_enqueue == hooks.before_retry == hooks.after_process_stop == ()
    assert Hooks([]).before_task == ()


def test_every_hook_of_middleware_has_its_place() -> None:
    names = [name for name in vars(Middleware) if name.startswith(("before_", "after_"))]
    assert len(names) == 16
    everything = type("Everything", (Middleware,), dict.fromkeys(names, noop))
    hooks = Hooks([everything()])
    assert [len(getattr(hooks, name)) for name in names] == [1] * 16


def test_they_run_in_order_and_back(notes: list[str], loop: asyncio.AbstractEventLoop) -> None:
    hooks = Hooks([Notes("a", notes), Notes("b", notes)])
    run(hooks.before_task, CONTEXT)
    run(hooks.after_task, CONTEXT, 1, None, loop=loop)
    assert notes == ["before a", "before b", "after b 1 None", "after a 1 None"]


def test_on_a_loop_both_kinds_run(notes: list[str]) -> None:
    hooks = Hooks([Notes("a", notes)])

    async def main() -> None:
        await arun(hooks.before_task, CONTEXT)
        await arun(hooks.after_task, CONTEXT, None, OSError("x"))

    asyncio.run(main())
    assert notes == ["before a", "after a None x"]


def test_async_hooks_of_a_thread_see_its_context(loop: asyncio.AbstractEventLoop) -> None:
    from taskq import current_task
    from taskq.context import CURRENT

    seen: list[TaskContext] = []

    async def look() -> None:
        seen.append(current_task())

    token = CURRENT.set(CONTEXT)
    run([look], loop=loop)
    CURRENT.reset(token)
    assert seen == [CONTEXT]


def test_an_exception_in_a_hook_costs_no_task(
    notes: list[str], loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    hooks = Hooks([Broken(), Notes("a", notes)])
    for _ in range(2):
        run(hooks.before_task, CONTEXT)
        run(hooks.after_task, CONTEXT, 1, None, loop=loop)

    assert notes == ["before a", "after a 1 None"] * 2
    lines = [record for record in caplog.records if "Broken.before_task" in record.getMessage()]
    assert "KeyError: 'sync'" in lines[0].getMessage()
    # The traceback is there the first time only.
    assert [bool(record.exc_info) for record in lines] == [True, False]
    assert sum("Broken.after_task raised ValueError" in record.getMessage() for record in caplog.records) == 2


def test_an_exception_on_a_loop_costs_no_task(notes: list[str], caplog: pytest.LogCaptureFixture) -> None:
    hooks = Hooks([Notes("a", notes), Broken()])
    asyncio.run(arun(hooks.after_task, CONTEXT, 1, None))
    assert notes == ["after a 1 None"]
    assert "Broken.after_task raised ValueError" in caplog.text


def test_cancelling_passes_through_a_hook() -> None:
    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(arun([cancelled]))


class Traced(Middleware):
    def __init__(self) -> None:
        self.seen: list[tuple[str, bool]] = []

    def before_enqueue(self, id: str, message: Message) -> None:
        message.headers = {**(message.headers or {}), "trace": id}

    def after_enqueue(self, id: str, message: Message, created: bool) -> None:
        self.seen.append((id, created))


def noop() -> None: ...


class TestEnqueueHooks:
    def test_they_may_set_headers(self) -> None:
        traced = Traced()
        app = WiredApp(middleware=[traced])
        task = app.task(noop)
        sender = task.using(headers={"own": "1"})
        handles = [sender.enqueue(), sender.enqueue()]
        assert [sent.message.headers for sent in app.wire.sent] == [
            {"own": "1", "trace": handle.id} for handle in handles
        ]
        assert traced.seen == [(handle.id, True) for handle in handles]

    def test_they_run_for_every_way_to_enqueue(self) -> None:
        traced = Traced()
        app = WiredApp(middleware=[traced])
        task = app.task(noop)
        task.enqueue_many([(), ()])
        asyncio.run(task.aenqueue())
        app.enqueue("by.name", queue="q")
        assert len(traced.seen) == 4
        assert all(sent.message.headers for sent in app.wire.sent)

    def test_an_exception_costs_no_task(self, caplog: pytest.LogCaptureFixture) -> None:
        class Raising(Middleware):
            def before_enqueue(self, id: str, message: Message) -> None:
                raise RuntimeError("no")

            after_enqueue = before_enqueue  # type: ignore[assignment]

        app = WiredApp(middleware=[Raising()])
        assert app.task(noop).enqueue().created
        assert "Raising.before_enqueue raised RuntimeError: no" in caplog.text

    def test_async_ones_are_refused(self) -> None:
        class Async(Middleware):
            async def before_enqueue(self, id: str, message: Message) -> None:  # type: ignore[override]
                ...

        with pytest.raises(ConfigurationError, match=r"Async\.before_enqueue is async"):
            TaskQ("shop", middleware=[Async()])


class TestTheList:
    def test_built_in_middleware_stands_in_it(self) -> None:
        mine = Middleware()
        builtin, own = TaskQ("shop", middleware=[mine]).middleware
        assert isinstance(builtin, FailureLog)
        assert own is mine

    def test_it_can_be_changed_in_place(self) -> None:
        app = WiredApp()
        task = app.task(noop)
        task.enqueue()
        app.middleware.append(Traced())
        task.enqueue()
        app.middleware.pop()
        task.enqueue()
        assert [bool(sent.message.headers) for sent in app.wire.sent] == [False, True, False]


class TestFailureLog:
    def test_a_retry_is_one_line(self, caplog: pytest.LogCaptureFixture) -> None:
        run(Hooks([FailureLog()]).after_retry, CONTEXT, OSError("disk"), 1_500)
        [record] = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage() == "shop.noop 0-1 failed in attempt 4, again in 1.5 s: OSError: disk"
        assert not record.exc_info

    def test_a_failure_has_its_traceback(self, caplog: pytest.LogCaptureFixture) -> None:
        error = OSError("disk")
        run(Hooks([FailureLog()]).after_failure, CONTEXT, error)
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert record.getMessage() == "shop.noop 0-1 failed for good in attempt 4: OSError: disk"
        assert record.exc_info
        assert record.exc_info[1] is error
        assert vars(record)["task_id"] == "0-1"


def test_a_hook_that_exits_ends_neither_its_thread_nor_its_loop(
    loop: asyncio.AbstractEventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    def leave() -> None:
        raise SystemExit(3)

    async def aleave() -> None:
        raise KeyboardInterrupt

    run([leave, aleave], loop=loop)
    run([aleave])
    asyncio.run(arun([leave, aleave]))

    assert [line.levelname for line in caplog.records] == ["ERROR"] * 5
    assert loop.is_running()
