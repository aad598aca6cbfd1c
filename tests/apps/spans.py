"""Apps with a lifespan and middleware that write down all that is called: `app` async, `sync_app` sync."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Generator
from typing import Any

from taskq import Middleware, RetryPolicy, TaskQ, current_task
from taskq.context import TaskContext
from tests.apps.ledger import note, write

AT_ONCE = RetryPolicy(max_retries=1, delay=0.02, factor=1, jitter=False)


@contextlib.asynccontextmanager
async def span(app: TaskQ) -> AsyncGenerator[dict[str, Any]]:
    write("span-in", "-", 0)
    yield {"pid": os.getpid(), "runs": 0}
    write("span-out", "-", 0)


@contextlib.contextmanager
def sync_span(app: TaskQ) -> Generator[dict[str, Any]]:
    write("span-in", "-", 0)
    yield {"pid": os.getpid(), "runs": 0}
    write("span-out", "-", 0)


class Sync(Middleware):
    """Sync hooks; the task hooks see `current_task()`."""

    def before_task(self, context: TaskContext) -> None:
        note("before_task", "sync", current_task() is context)

    def after_task(self, context: TaskContext, result: Any, error: BaseException | None) -> None:
        note("after_task", "sync", result, type(error).__name__)

    def before_retry(self, context: TaskContext, error: BaseException, delay_ms: int) -> None:
        note("before_retry", "sync", type(error).__name__, delay_ms)

    def after_retry(self, context: TaskContext, error: BaseException, delay_ms: int) -> None:
        note("after_retry", "sync", type(error).__name__, delay_ms)

    def before_failure(self, context: TaskContext, error: BaseException) -> None:
        note("before_failure", "sync", type(error).__name__)

    def after_failure(self, context: TaskContext, error: BaseException) -> None:
        note("after_failure", "sync", type(error).__name__)

    def before_worker_start(self, app: Any) -> None:
        write("before_worker_start", "-", 0, "sync")

    def after_worker_start(self, app: Any) -> None:
        write("after_worker_start", "-", 0, "sync")

    def before_worker_stop(self, app: Any) -> None:
        write("before_worker_stop", "-", 0, "sync")

    def after_worker_stop(self, app: Any) -> None:
        write("after_worker_stop", "-", 0, "sync")

    def before_process_start(self, app: Any) -> None:
        write("before_process_start", "-", 0, "sync")

    def after_process_start(self, app: Any) -> None:
        write("after_process_start", "-", 0, "sync")

    def before_process_stop(self, app: Any) -> None:
        write("before_process_stop", "-", 0, "sync")

    def after_process_stop(self, app: Any) -> None:
        write("after_process_stop", "-", 0, "sync")


class Async(Middleware):
    """Async hooks."""

    async def before_task(self, context: TaskContext) -> None:
        note("before_task", "async", current_task() is context)

    async def after_task(self, context: TaskContext, result: Any, error: BaseException | None) -> None:
        note("after_task", "async", result, type(error).__name__)

    async def before_retry(self, context: TaskContext, error: BaseException, delay_ms: int) -> None:
        note("before_retry", "async", type(error).__name__, delay_ms)

    async def after_failure(self, context: TaskContext, error: BaseException) -> None:
        note("after_failure", "async", type(error).__name__)

    async def before_worker_start(self, app: Any) -> None:
        write("before_worker_start", "-", 0, "async")

    async def after_process_stop(self, app: Any) -> None:
        write("after_process_stop", "-", 0, "async")


class Broken(Middleware):
    """Hooks that all raise: none of them costs a task."""

    def before_task(self, context: TaskContext) -> None:
        raise ValueError("before_task")

    async def after_task(self, context: TaskContext, result: Any, error: BaseException | None) -> None:
        raise ValueError("after_task")

    def before_retry(self, context: TaskContext, error: BaseException, delay_ms: int) -> None:
        raise ValueError("before_retry")

    async def after_retry(self, context: TaskContext, error: BaseException, delay_ms: int) -> None:
        raise ValueError("after_retry")

    def before_failure(self, context: TaskContext, error: BaseException) -> None:
        raise ValueError("before_failure")

    async def after_failure(self, context: TaskContext, error: BaseException) -> None:
        raise ValueError("after_failure")

    def before_worker_start(self, app: Any) -> None:
        raise ValueError("before_worker_start")

    async def after_process_start(self, app: Any) -> None:
        raise ValueError("after_process_start")

    async def before_process_stop(self, app: Any) -> None:
        raise ValueError("before_process_stop")


app = TaskQ("tests", lifespan=span, middleware=[Sync(), Broken(), Async()])
sync_app = TaskQ("tests", lifespan=sync_span)


def tell() -> dict[str, Any]:
    """Give what a task knows of itself."""
    task = current_task()
    note("start", task.fence)
    task.log.warning("a word from %s", task.id)
    task.state["runs"] += 1
    return {
        "id": task.id,
        "name": task.name,
        "queue": task.queue,
        "attempt": task.attempt,
        "fence": task.fence,
        "headers": dict(task.headers),
        "tags": list(task.tags),
        "state pid": task.state["pid"],
        "pid": os.getpid(),
        "runs": task.state["runs"],
    }


@app.task
def tell_all() -> dict[str, Any]:
    return tell()


@app.task
async def atell_all() -> dict[str, Any]:
    return tell()


@sync_app.task
def sync_tell() -> dict[str, Any]:
    return tell()


@sync_app.task
async def async_tell() -> dict[str, Any]:
    return tell()


@app.task(retry=AT_ONCE)
def fail(until: int) -> int:
    return _fail(until)


@app.task(retry=AT_ONCE)
async def afail(until: int) -> int:
    return _fail(until)


def _fail(until: int) -> int:
    task = current_task()
    note("start", task.fence)
    if task.attempt < until:
        raise ValueError("not yet")
    return task.attempt
