"""A task: a function with a name, and what is to happen when it is called somewhere else."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypedDict, TypeVar

from taskq.clock import Duration, to_ms
from taskq.codec import CallCodec
from taskq.given import check_count, check_priority, positive_ms, read_option
from taskq.handle import Application, TaskHandle
from taskq.names import check_name
from taskq.retry import Errors, RetryPolicy
from taskq.sending import Sender

P = ParamSpec("P")
R = TypeVar("R")

Ack = Literal["late", "early", "manual"]
"""When a task is settled: after its run; at its start, so that it runs at most once; when it says so."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What a task declares. Workers read it from their own code at run time, but for queue and priority."""

    queue: str = "default"
    priority: int = 5
    """0 to 9 within the queue, 9 first."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_ms: int | None = 3_600_000
    """How long one run may take before it is stopped; None is no limit. An hour."""
    soft_timeout_ms: int | None = None
    """When `SoftTimeout` is raised inside the task, so that it can clean up."""
    result_ttl_ms: int | None = None
    """How long the result is kept, 0 not at all; None is what the app says."""
    max_crashes: int = 3
    """How often the task may kill its process before it is dead-lettered."""
    ack: Ack = "late"


class TaskParameters(TypedDict, total=False):
    """What `@app.task(…)` takes. All have a default; see `TaskOptions`."""

    name: str
    """In place of `app.module.function`."""
    queue: str
    priority: int
    max_retries: int
    """Runs after the first one; 5."""
    retry: RetryPolicy
    """Delays and errors of retries; `max_retries`, `retry_for` and `no_retry_for` stand for its fields."""
    retry_for: Errors
    no_retry_for: Errors
    timeout: Duration | None
    soft_timeout: Duration | None
    result_ttl: Duration | None
    max_crashes: int
    ack: Ack


def options_of(
    default_queue: str,
    *,
    queue: str | None = None,
    priority: int = 5,
    max_retries: int | None = None,
    retry: RetryPolicy | None = None,
    retry_for: Errors | None = None,
    no_retry_for: Errors | None = None,
    timeout: Duration | None = "1h",
    soft_timeout: Duration | None = None,
    result_ttl: Duration | None = None,
    max_crashes: int = 3,
    ack: Ack = "late",
) -> TaskOptions:
    """Check what a decorator was given and put it into units.

    Raises:
        ValueError: a value cannot be meant.
    """

    def ms(name: str, value: Duration | None, read: Callable[[Duration], int]) -> int | None:
        return None if value is None else read_option(name, value, read)

    changes: dict[str, Any] = {
        "max_retries": max_retries,
        "retry_for": retry_for,
        "no_retry_for": no_retry_for,
    }
    policy = dataclasses.replace(
        retry or RetryPolicy(), **{name: value for name, value in changes.items() if value is not None}
    )
    if ack not in ("late", "early", "manual"):
        raise ValueError(f"ack={ack!r}: it is 'late', 'early' or 'manual'")
    options = TaskOptions(
        queue=check_name("the queue", default_queue if queue is None else queue),
        priority=read_option("priority", priority, check_priority),
        retry=policy,
        timeout_ms=ms("timeout", timeout, positive_ms),
        soft_timeout_ms=ms("soft_timeout", soft_timeout, positive_ms),
        result_ttl_ms=ms("result_ttl", result_ttl, to_ms),
        max_crashes=read_option("max_crashes", max_crashes, check_count),
        ack=ack,
    )
    if options.max_crashes == 0:
        raise ValueError("max_crashes=0: a task is started once at least")
    if options.timeout_ms and options.soft_timeout_ms and options.soft_timeout_ms >= options.timeout_ms:
        raise ValueError(f"soft_timeout={soft_timeout!r} is to come before timeout={timeout!r}")
    return options


class Task(Sender[P, R]):
    """A declared function. Calling it runs it here and now; `enqueue` has a worker run it.

    `R` is what a run gives: for an async function, what its coroutine returns.
    """

    def __init__(self, app: Application, name: str, function: Callable[P, Any], options: TaskOptions) -> None:
        super().__init__(app, name, CallCodec(function), options.queue, options.priority)
        self.function = function
        self.options = options
        self.is_async = is_async(function)
        functools.update_wrapper(self, function, updated=())

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R | Coroutine[Any, Any, R]:
        """Run the function here and now, as if it had no decorator."""
        return self.function(*args, **kwargs)  # type: ignore[no-any-return]

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """As `enqueue`, by the name that Celery gives it."""
        return self.enqueue(*args, **kwargs)

    def apply_async(
        self,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        countdown: Duration | None = None,
        eta: datetime | None = None,
        expires: Duration | datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        task_id: str | None = None,
    ) -> TaskHandle[R]:
        """As `using(…).enqueue(…)`, by the names that Celery gives it.

        Two things differ: 9 is the first priority, not the last, and a datetime has to have a time zone.
        """
        sender = self.using(
            delay=countdown, eta=eta, expires=expires, queue=queue, priority=priority, id=task_id
        )
        untyped: Sender[..., R] = sender
        return untyped.enqueue(*args, **(kwargs or {}))


class SyncTask(Task[P, R]):
    """A task whose function is sync: calling it gives what the function returns."""

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...


class AsyncTask(Task[P, R]):
    """A task whose function is async: calling it gives a coroutine."""

    if TYPE_CHECKING:

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]: ...


def is_async(function: Callable[..., Any]) -> bool:
    """Say whether calling `function` gives a coroutine: partials and objects with an async `__call__` too."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - not whether it is callable, but how
    )
