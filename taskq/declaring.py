"""The decorator that makes tasks, for apps and for groups."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from taskq.application import Application
from taskq.errors import ConfigurationError, DuplicateTask
from taskq.names import check_task_name
from taskq.options import TaskParameters, check_option_names, options_of
from taskq.origin import code_of, place_of
from taskq.task import AsyncTask, SyncTask, Task, is_async

P = ParamSpec("P")
R = TypeVar("R")


# A coroutine function is a function, too: the overloads overlap, and the first one that fits is meant.
class TaskDecorator(Protocol):
    """What `@app.task(…)` with options gives: it makes a function a task."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...


class Declaring(ABC):
    """What tasks are declared at."""

    def __init__(self, queue: str) -> None:
        self.tasks: dict[str, Task[..., Any]] = {}
        self._queue = queue

    @abstractmethod
    def _home(self) -> Application:
        """Give what the tasks are enqueued by."""

    @abstractmethod
    def _default_name(self, function: Callable[..., Any]) -> str:
        """Name a task after its function."""

    @overload
    def task(  # type: ignore[overload-overlap]
        self, function: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[TaskParameters]
    ) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /, **options: Unpack[TaskParameters]) -> SyncTask[P, R]: ...
    @overload
    def task(self, /, **options: Unpack[TaskParameters]) -> TaskDecorator: ...

    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Declare a function, sync or async, as a task: `@app.task` or `@app.task(queue="mail", timeout=30)`.

        Raises:
            DuplicateTask: another function has the name.
            ConfigurationError: an option cannot be meant, or the function cannot be a task.
        """
        if function is None:
            return functools.partial(self._declare, options=options)
        return self._declare(function, options)

    def _declare(self, function: Callable[..., Any], options: dict[str, Any]) -> Task[..., Any]:
        if not callable(function):
            raise ConfigurationError(f"@task makes tasks of functions, not of {function!r}")
        if isinstance(function, Task):
            raise ConfigurationError(f"{function.name} is a task already: declare its function, once")
        place = place_of(function)
        name = options.pop("name", None)
        if name is None and "<lambda>" in code_of(function).__qualname__:
            raise ConfigurationError(f"the lambda at {place} has no name of its own; give name=")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(f"the generator at {place} cannot be a task: calling it runs nothing")
        try:
            check_option_names(options)
            name = check_task_name(self._default_name(function) if name is None else name)
            checked = options_of(self._queue, **options)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"the task at {place}: {error}") from error
        task = _class_for(function)(self._home(), name, function, checked)
        self._add(task)
        return task

    def _add(self, task: Task[..., Any]) -> None:
        other = self.tasks.get(task.name)
        if other is not None and not _same_declaration(task.function, other.function):
            raise DuplicateTask(
                f"two tasks are named {task.name!r}: at {place_of(other.function)} and at "
                f"{place_of(task.function)}; give one of them another name="
            )
        self.tasks[task.name] = task


def _class_for(function: Callable[..., Any]) -> type[Task[..., Any]]:
    return AsyncTask if is_async(function) else SyncTask


def _same_declaration(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    """A file that runs as a script and is imported as well declares its tasks twice."""
    modules = {code_of(one).__module__, code_of(other).__module__}
    return len(modules) == 2 and "__main__" in modules and place_of(one) == place_of(other)
