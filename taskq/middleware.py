"""Middleware: code that runs around every task, enqueue, retry and failure, and around a worker's life.

Subclass `Middleware`, override what you need, and give instances to `TaskQ(middleware=[…])`. They run in the
order of `app.middleware`, the `after_` hooks in the reverse one. An exception in a hook costs no task: it is
logged, with its traceback the first time.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from taskq.context import CURRENT
from taskq.errors import ArgumentMismatch, ConfigurationError
from taskq.veil import NO_VEIL, Veil, text_of

if TYPE_CHECKING:
    import asyncio

    from taskq.context import TaskContext
    from taskq.message import Message

log = logging.getLogger("taskq.task")

Hook = Callable[..., Any]
"""A bound hook; what it returns is awaited if it is a coroutine, else dropped."""


class Middleware:
    """Hooks that do nothing. The enqueue hooks are sync; each of the others may be `async def`.

    `app` is the `TaskQ`. Task, retry and failure hooks run where the task runs, with `current_task()` set.
    """

    def before_enqueue(self, id: str, message: Message) -> None:
        """Run before a message is stored. It may set `message.headers`, to a new dict."""

    def after_enqueue(self, id: str, message: Message, created: bool) -> None:
        """Run once a message is stored; `created` is False if its id or key was known and nothing was."""

    def before_task(self, context: TaskContext) -> Any:
        """Run before the task's function."""

    def after_task(self, context: TaskContext, result: Any, error: BaseException | None) -> Any:
        """Run after the task's function, whether it returned `result` or raised `error`."""

    def before_retry(self, context: TaskContext, error: BaseException, delay_ms: int) -> Any:
        """Run when a task failed and is to run again in `delay_ms`, before that is committed."""

    def after_retry(self, context: TaskContext, error: BaseException, delay_ms: int) -> Any:
        """Run once the retry is on its way to the server."""

    def before_failure(self, context: TaskContext, error: BaseException) -> Any:
        """Run when a task failed for good, before that is committed."""

    def after_failure(self, context: TaskContext, error: BaseException) -> Any:
        """Run once the failure is on its way to the server."""

    def before_worker_start(self, app: Any) -> Any:
        """Run once a worker, in its first process: the supervisor above it runs no code of yours."""

    def after_worker_start(self, app: Any) -> Any:
        """Run in the worker's first process once it takes tasks."""

    def before_worker_stop(self, app: Any) -> Any:
        """Run in the worker's first process when the worker was told to stop."""

    def after_worker_stop(self, app: Any) -> Any:
        """Run in the worker's first process when its last task has ended."""

    def before_process_start(self, app: Any) -> Any:
        """Run in each process before the app's `lifespan` is entered."""

    def after_process_start(self, app: Any) -> Any:
        """Run in each process once it takes tasks."""

    def before_process_stop(self, app: Any) -> Any:
        """Run in each process when it takes no more tasks."""

    def after_process_stop(self, app: Any) -> Any:
        """Run in each process after the app's `lifespan` was left."""


class FailureLog(Middleware):
    """Logs a line for each retry and each failure, this with the traceback. Built in, first in the list.

    Secret arguments are masked in both.
    """

    def after_retry(self, context: TaskContext, error: BaseException, delay_ms: int) -> None:
        """Log a warning."""
        log.warning(
            "%s %s failed in attempt %d, again in %.1f s: %s",
            context.name, context.id, context.attempt, delay_ms / 1_000, _line(error, context.outlet.veil()),
            extra={"task_id": context.id, "task_name": context.name},
        )  # fmt: skip

    def after_failure(self, context: TaskContext, error: BaseException) -> None:
        """Log an error."""
        veil = context.outlet.veil()
        with_traceback = not isinstance(error, ArgumentMismatch)  # which says all in its message
        text, traceback = _with_traceback(error, veil) if with_traceback else (_line(error, veil), None)
        log.error(
            "%s %s failed for good in attempt %d: %s",
            context.name, context.id, context.attempt, text,
            exc_info=traceback,
            extra={"task_id": context.id, "task_name": context.name},
        )  # fmt: skip


def _line(error: BaseException, veil: Veil) -> str:
    return f"{type(error).__name__}: {veil.over(text_of(error))}"


def _with_traceback(error: BaseException, veil: Veil) -> tuple[str, BaseException | None]:
    """Give what is logged of an error, and the exception whose traceback goes with it.

    An exception that has something secret in it does not go to logging, whose handlers take it apart as they like:
    its traceback stands in the text, masked.
    """
    if veil is not NO_VEIL:
        from traceback import format_exception

        plain = "".join(format_exception(error)) if error.__traceback__ else ""
        masked = veil.over(plain)
        if masked != plain:
            return f"{_line(error, veil)}\n{masked.rstrip()}", None
    return _line(error, veil), error


class Hooks:
    """The hooks that the middleware of a list override, bound and in the order they run. Built once."""

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self.source = list(middleware)
        self.before_enqueue = self._overridden("before_enqueue")
        self.after_enqueue = self._overridden("after_enqueue")
        self.before_task = self._overridden("before_task")
        self.after_task = self._overridden("after_task")
        self.before_retry = self._overridden("before_retry")
        self.after_retry = self._overridden("after_retry")
        self.before_failure = self._overridden("before_failure")
        self.after_failure = self._overridden("after_failure")
        self.before_worker_start = self._overridden("before_worker_start")
        self.after_worker_start = self._overridden("after_worker_start")
        self.before_worker_stop = self._overridden("before_worker_stop")
        self.after_worker_stop = self._overridden("after_worker_stop")
        self.before_process_start = self._overridden("before_process_start")
        self.after_process_start = self._overridden("after_process_start")
        self.before_process_stop = self._overridden("before_process_stop")
        self.after_process_stop = self._overridden("after_process_stop")
        for hook in self.before_enqueue + self.after_enqueue:
            if inspect.iscoroutinefunction(hook):
                raise ConfigurationError(f"{hook.__qualname__} is async: enqueue hooks are sync")

    def _overridden(self, name: str) -> tuple[Hook, ...]:
        ordered = self.source if name.startswith("before_") else reversed(self.source)
        return tuple(
            getattr(one, name) for one in ordered if getattr(type(one), name) is not getattr(Middleware, name)
        )


_HELD_BACK = (Exception, SystemExit, KeyboardInterrupt)
"""What a hook may raise without costing a task. What interrupts the task goes on: it may strike in a hook of it."""


def run(hooks: Sequence[Hook], *args: Any, loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Run hooks from a thread. Those that are async run on `loop`, which runs in another one."""
    for hook in hooks:
        try:
            pending = hook(*args)
            if inspect.iscoroutine(pending):
                ended = _finish(hook, pending)
                import asyncio

                if loop is None:
                    asyncio.run(ended)
                else:
                    asyncio.run_coroutine_threadsafe(ended, loop).result()
        except _HELD_BACK as error:
            _report(hook, error)


async def _finish(hook: Hook, pending: Coroutine[Any, Any, Any]) -> None:
    try:
        await pending
    except _HELD_BACK as error:  # here, for a SystemExit that leaves a coroutine ends its loop
        _report(hook, error)


async def arun(hooks: Sequence[Hook], *args: Any) -> None:
    """Run hooks on the running loop."""
    for hook in hooks:
        try:
            pending = hook(*args)
            if inspect.iscoroutine(pending):
                await pending
        except _HELD_BACK as error:
            _report(hook, error)


_reported: set[tuple[str, type[BaseException]]] = set()


def _report(hook: Hook, error: BaseException) -> None:
    name = getattr(hook, "__qualname__", repr(hook))
    first = (name, type(error)) not in _reported
    _reported.add((name, type(error)))
    context = CURRENT.get()
    veil = NO_VEIL if context is None else context.outlet.veil()
    text, traceback = _with_traceback(error, veil) if first else (_line(error, veil), None)
    log.error("the middleware hook %s raised %s", name, text, exc_info=traceback)
