"""`app.submit`: functions that are no tasks, sent as calls of tasks that the app declares for that at the first use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, overload

from taskq.config import AppConfig
from taskq.context import warn_in_loop
from taskq.declaring import Declaring
from taskq.errors import SigningRequired
from taskq.handle import TaskHandle
from taskq.sending import Sender
from taskq.submitting import (
    CallerCodec,
    CodeCodec,
    ReferenceCodec,
    RunnerCodec,
    arun,
    callers,
    reference_of,
    run,
)
from taskq.task import Task, is_async

P = ParamSpec("P")
R = TypeVar("R")


class Submitting(Declaring):
    """What functions are submitted to: an app, seen from this side."""

    name: str
    config: AppConfig
    modules: tuple[str, ...]

    def __init__(self, queue: str) -> None:
        super().__init__(queue)
        self._lock = threading.RLock()

    @overload
    def submit(
        self, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> TaskHandle[R]: ...
    @overload
    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]: ...

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskHandle[Any]:
        """Store a call of a function that is no task: a public one of a module in `include`, or, with keys, any.

        A task is enqueued as itself. Raises what `task.enqueue` raises, and

        Raises:
            SigningRequired: a worker could not find the function, and sending code needs signing keys.
        """
        warn_in_loop("submit", "asubmit")
        return self._sender_of(function).enqueue(*args, **kwargs)

    @overload
    async def asubmit(
        self, function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> TaskHandle[R]: ...
    @overload
    async def asubmit(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> TaskHandle[R]: ...

    async def asubmit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> TaskHandle[Any]:
        """As `submit`, on the running loop."""
        return await self._sender_of(function).aenqueue(*args, **kwargs)

    def _sender_of(self, function: Callable[..., Any]) -> Sender[..., Any]:
        for task in self.tasks.values():
            if function is task or function is task.function:
                return task
        try:
            module, name = reference_of(function, self.modules)
        except SigningRequired:
            if self.config.signing_keys is None:
                raise
            runner = self._runners()[is_async(function)]
            return Sender(
                self._home(), runner.name, CodeCodec(function, self.config.redaction), runner.queue, 5
            )
        caller = self._callers()[is_async(function)]
        return Sender(
            self._home(),
            caller.name,
            ReferenceCodec(function, module, name, self.config.redaction),
            caller.queue,
            5,
        )

    def _callers(self) -> list[Task[..., Any]]:
        """Give the tasks, sync and async, that call functions by reference; declare them at the first use."""
        names, redaction = [f"{self.name}.taskq.call", f"{self.name}.taskq.acall"], self.config.redaction
        with self._lock:
            if names[0] not in self.tasks:
                for name, function in zip(names, callers(self.modules), strict=True):
                    self.task(function, name=name).codec = CallerCodec(function, self.modules, redaction)
        return [self.tasks[name] for name in names]

    def _runners(self) -> list[Task[..., Any]]:
        """Give the tasks, sync and async, that run functions which come as code."""
        names = [f"{self.name}.taskq.run", f"{self.name}.taskq.arun"]
        with self._lock:
            if names[0] not in self.tasks:
                for name, function in zip(names, (run, arun), strict=True):
                    self.task(function, name=name, codec="cloudpickle").codec = RunnerCodec(
                        function, True, self.config.redaction
                    )
        return [self.tasks[name] for name in names]
