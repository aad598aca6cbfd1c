"""What a task can know of itself while it runs."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from taskq.clock import Duration, to_ms
from taskq.errors import BlockingInTask

if TYPE_CHECKING:
    from taskq.codec import CallCodec
    from taskq.message import Message
    from taskq.options import TaskOptions
    from taskq.veil import Veil

log = logging.getLogger("taskq.task")


class Outlet(Protocol):
    """Where a task's own word on its end goes: the worker that runs it."""

    is_replay: bool

    def veil(self) -> Veil:
        """Give what hides the task's secret arguments in texts."""
        ...

    def ack(self, context: TaskContext) -> None:
        """Settle as succeeded, now."""
        ...

    def nack(self, context: TaskContext, delay_ms: int | None) -> None:
        """Settle as failed, now: to run again in `delay_ms`, or as the retry policy says."""
        ...


class Declared(Protocol):
    """A declared task, as far as its run looks at it."""

    name: str
    options: TaskOptions
    codec: CallCodec


class TaskContext:
    """One run of one task; `current_task()` gives it. Everything but `ack` and `nack` only reads."""

    __slots__ = ("crashes", "failures", "fence", "id", "message", "outlet", "state", "task")

    def __init__(
        self,
        id: str,
        fence: int,
        failures: int,
        crashes: int,
        message: Message,
        task: Declared,
        state: Any,
        outlet: Outlet,
    ) -> None:
        self.id = id
        self.fence = fence
        """Rises with every run of every task: what writes elsewhere can refuse a lower one."""
        self.failures = failures
        self.crashes = crashes
        self.message = message
        self.task = task
        self.state = state
        """What the app's `lifespan` yielded in this process; None without one."""
        self.outlet = outlet

    def __repr__(self) -> str:
        return f"<TaskContext {self.id} {self.name} attempt {self.attempt}>"

    @property
    def name(self) -> str:
        """The task's name."""
        return self.message.task

    @property
    def queue(self) -> str:
        """The queue that the task was enqueued to."""
        return self.message.queue

    @property
    def attempt(self) -> int:
        """Counts runs from 1."""
        return self.failures + self.crashes + 1

    @property
    def is_replay(self) -> bool:
        """True if `taskq replay` runs a task once more that has ended."""
        return self.outlet.is_replay

    @property
    def headers(self) -> Mapping[str, str]:
        """What the call carries besides its arguments."""
        return self.message.headers or {}

    @property
    def tags(self) -> tuple[str, ...]:
        """What the call was tagged with."""
        return tuple(self.message.tags or ())

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose lines begin with the task's id, and carry it as `task_id` for structured logs."""
        return _TaskLog(log, {"task_id": self.id, "task_name": self.name})

    def redact(self, what: object) -> str:
        """Give a text, or the repr of anything else, as it may be logged: the task's secret arguments are masked.

        Masked are their values from 4 characters on, and what stands under a name that hides it.
        """
        text = what if isinstance(what, str) else repr(self.task.codec.redaction.shown(what))
        return self.outlet.veil().over(text)

    def ack(self) -> None:
        """Say that the work is done; what comes after it in the function is not repeated.

        Raises:
            RuntimeError: the task is not declared with `ack="manual"`.
        """
        self._own_word("ack")
        self.outlet.ack(self)

    def nack(self, delay: Duration | None = None) -> None:
        """Say that the work failed: it is retried after `delay`, or as the retry policy says.

        Raises:
            RuntimeError: the task is not declared with `ack="manual"`.
        """
        self._own_word("nack")
        self.outlet.nack(self, None if delay is None else to_ms(delay))

    def _own_word(self, method: str) -> None:
        mode = self.task.options.ack
        if mode != "manual":
            raise RuntimeError(f'{method}() is for tasks with ack="manual"; {self.name} has ack="{mode}"')


class _TaskLog(logging.LoggerAdapter[logging.Logger]):
    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        extra = self.extra or {}
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        return f"[{extra['task_id']}] {msg}", kwargs


CURRENT: ContextVar[TaskContext | None] = ContextVar("taskq_current_task", default=None)
"""Set by the worker around each run."""


def current_task() -> TaskContext:
    """Give the run that the caller is part of.

    Raises:
        RuntimeError: the caller runs outside of a task, or in a thread that the task has started by itself.
    """
    context = CURRENT.get()
    if context is None:
        raise RuntimeError(
            "current_task() was called outside of a task; in a thread that a task starts, run functions by "
            "contextvars.copy_context().run"
        )
    return context


def refuse_in_task(method: str, allow_block: bool) -> None:
    """Keep a task from waiting for another one in the slot that the other may need.

    Raises:
        BlockingInTask: the caller is part of a task's run, and does not insist.
    """
    if not allow_block and (context := CURRENT.get()) is not None:
        raise BlockingInTask(
            f"{method}() inside task {context.id} ({context.name}) would hold the slot that the other may "
            "need, and both would wait for ever. Enqueue a task that goes on, or pass allow_block=True"
        )


_warned: set[str] = set()


def warn_in_loop(method: str, twin: str) -> None:
    """Warn, once a process and method, that a call blocks the event loop that runs in this thread."""
    asyncio = sys.modules.get(
        "asyncio"
    )  # where nobody has imported it no loop runs, and importing it takes its time
    if asyncio is None or asyncio._get_running_loop() is None:  # the public one raises where none runs
        return
    if method not in _warned:
        _warned.add(method)
        warnings.warn(
            f"{method}() blocks the running event loop; use `await {twin}()`", RuntimeWarning, stacklevel=3
        )
