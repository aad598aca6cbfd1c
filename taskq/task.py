"""A task: a function with a name, and what is to happen when it is called somewhere else."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from taskq.application import Application
from taskq.clock import Duration
from taskq.codec import CallCodec
from taskq.given import NOTHING, Given
from taskq.handle import TaskHandle
from taskq.options import TaskOptions
from taskq.sending import Sender

P = ParamSpec("P")
R = TypeVar("R")


class Task(Sender[P, R]):
    """A declared function. Calling it runs it here and now; `enqueue` has a worker run it.

    `R` is what a run gives: for an async function, what its coroutine returns.
    """

    def __init__(self, app: Application, name: str, function: Callable[P, Any], options: TaskOptions) -> None:
        given = Given(
            compress_over=options.compress_over,
            offload_over=options.offload_over,
            durability=options.durability,
        )
        super().__init__(
            app,
            name,
            CallCodec(function, options.codec == "cloudpickle"),
            options.queue,
            options.priority,
            NOTHING if given == NOTHING else given,
        )
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
