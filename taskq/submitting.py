"""Functions that are no tasks, called by reference, or sent as code.

Two tasks of an app, `<app>.taskq.call` and `<app>.taskq.acall`, take a module and a name and call what stands
there. No name from the server is imported for that: the module has to be one of the app's `include`, which
its workers import when they start, and the function a public one that is defined in it. So who lists a module
in `include` lets whoever can enqueue call its public functions.

With signing keys, functions that a worker could not find so are pickled, for `<app>.taskq.run` and `<app>.taskq.arun`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from taskq.codec import CallCodec
from taskq.codec.plan import Plan
from taskq.errors import SigningRequired, TaskqError
from taskq.origin import module_name, qualified_name
from taskq.redaction import Marks, Redaction
from taskq.retry import Reject
from taskq.veil import Veil


def reference_of(function: Callable[..., Any], modules: Sequence[str]) -> tuple[str, str]:
    """Give the module and the name by which a worker finds `function`.

    Raises:
        SigningRequired: it would not find it: the function would have to travel as code.
    """
    module, name = module_name(function), qualified_name(function)
    if module not in modules or _public_function(function.__module__, name) is not function:
        raise SigningRequired(
            f"{module}.{name} cannot be called by reference: that takes a public function of a module in the "
            "app's include=[…]. Declare it as a task, or list its module; to send its code takes signing keys in "
            "TASKQ_SIGNING_KEYS, for programs and workers alike"
        )
    return module, name


def find(module: str, name: str, modules: Sequence[str]) -> Callable[..., Any]:
    """Give the function that a call refers to.

    Raises:
        Reject: the module is not one of `modules`, or has no such public function.
    """
    function = _public_function(module, name) if module in modules else None
    if function is None:
        raise Reject(f"{module}.{name} is no public function of a module that the app includes")
    return function


def _public_function(module: str, name: str) -> Callable[..., Any] | None:
    # What stands there: a module's own `__getattr__` would make what a message names, and may import it.
    function = getattr(sys.modules.get(module), "__dict__", {}).get(name)
    own = inspect.isfunction(function) and function.__module__ == module and function.__qualname__ == name
    return function if own and not name.startswith("_") else None


class ReferenceCodec(CallCodec):
    """How a call by reference travels: as the function's own arguments, packed beside its module and name."""

    def __init__(self, function: Callable[..., Any], module: str, name: str, redaction: Redaction) -> None:
        super().__init__(function, redaction=redaction)
        self._module = module
        self._name = name

    def _marks_of(self, plan: Plan) -> list[int | str] | None:  # noqa: ARG002 - whatever the function's own are
        # The packed arguments: who does not know the function cannot say what in them is secret.
        return [2, 3]

    def encode_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """As `CallCodec` has it, and so does what follows."""
        return _REFERENCE.encode_call((self._module, self._name, *super().encode_call(args, kwargs)), {})

    def decode_call(
        self, args: bytes, kwargs: bytes, trusted: bool = False
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """As `CallCodec` has it."""
        (_, _, own_args, own_kwargs), _ = _REFERENCE.decode_call(args, kwargs)
        return super().decode_call(own_args, own_kwargs, trusted)


class CallerCodec(CallCodec):
    """How the tasks that call by reference get their calls."""

    def __init__(self, caller: Callable[..., Any], modules: Sequence[str], redaction: Redaction) -> None:
        super().__init__(caller, redaction=redaction)
        self._modules = modules

    def veil(self, args: bytes, kwargs: bytes, trusted: bool, marks: Marks | None) -> Veil:
        """As `CallCodec` has it, of the function's own arguments."""
        try:
            (module, name, own_args, own_kwargs), _ = self.decode_call(args, kwargs)
            own = CallCodec(find(module, name, self._modules), redaction=self.redaction)
        except (TaskqError, Reject):
            return super().veil(args, kwargs, trusted, marks)
        return own.veil(own_args, own_kwargs, trusted, None)


class RunnerCodec(CallCodec):
    """How the tasks that run code get their calls."""

    def veil_of(self, args: Sequence[Any], _: Mapping[str, Any], marks: Marks | None, /) -> Veil:
        """As `CallCodec` has it, of the function's own arguments."""
        function, own_args, own_kwargs = args
        return CallCodec(function, redaction=self.redaction).veil_of(own_args, own_kwargs, marks)


class CodeCodec(CallCodec):
    """How a call travels with the function itself: as cloudpickle writes it."""

    def __init__(self, function: Callable[..., Any], redaction: Redaction) -> None:
        super().__init__(function, True, redaction)
        self._code = function

    def encode_call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[bytes, bytes]:
        """As `CallCodec` has it, for `run` or `arun`."""
        self.check_call(args, kwargs)
        return _RUN.encode_call((self._code, args, dict(kwargs)), {})


def run(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a function that came as code."""
    return function(*args, **kwargs)


async def arun(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a coroutine function that came as code."""
    return await function(*args, **kwargs)


_RUN = CallCodec(run, pickles=True)


def callers(
    modules: Sequence[str],
) -> tuple[Callable[[str, str, bytes, bytes], Any], Callable[[str, str, bytes, bytes], Any]]:
    """Make the two functions, sync and async, that call what they are told the place of."""

    def call(module: str, name: str, args: bytes, kwargs: bytes) -> Any:
        function = find(module, name, modules)
        values, named = CallCodec(function).decode_call(args, kwargs)
        return function(*values, **named)

    async def acall(module: str, name: str, args: bytes, kwargs: bytes) -> Any:
        return await call(module, name, args, kwargs)

    return call, acall


_REFERENCE = CallCodec(callers(())[0])
