"""A function's signature, with annotations resolved one by one."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable
from typing import Any, get_type_hints

from taskq.secret import Secret

if sys.version_info >= (3, 14):
    from annotationlib import Format

    _signature = functools.partial(inspect.signature, annotation_format=Format.FORWARDREF)
else:
    _signature = inspect.signature


_SECRET = re.compile(r"\bSecret\b")


def resolved_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Give the signature of `function` with annotations in place of their text.

    What cannot be resolved, like a name imported under TYPE_CHECKING, counts as not annotated. A callable
    that tells no signature takes anything.
    """
    try:
        signature = _signature(function)
    except (ValueError, TypeError):
        signature = inspect.signature(anything)
    names = _globals(function)
    parameters = [
        parameter.replace(annotation=_resolved(parameter.annotation, names))
        for parameter in signature.parameters.values()
    ]
    returned = _resolved(signature.return_annotation, names)
    return signature.replace(parameters=parameters, return_annotation=returned)


def name_of(function: Callable[..., Any]) -> str:
    """Name `function` as its messages do."""
    while isinstance(function, functools.partial):
        function = function.func
    name: str = getattr(function, "__qualname__", type(function).__qualname__)
    return name


def anything(*args: Any, **kwargs: Any) -> Any: ...


def _globals(function: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if inspect.isclass(function):
        function = function.__init__
    elif not hasattr(function, "__globals__"):
        function = type(function).__call__
    names: dict[str, Any] = getattr(function, "__globals__", {})
    return names


def _resolved(annotation: Any, names: dict[str, Any]) -> Any:
    if annotation is inspect.Parameter.empty:
        return annotation

    def holder() -> None: ...

    holder.__annotations__ = {"it": annotation}
    try:
        return get_type_hints(holder, names, include_extras=True)["it"]
    except Exception:  # noqa: BLE001 - annotations are code
        # Of a Secret this much is known even where its import, or what is in it, is for type checkers only.
        return Secret if _SECRET.search(str(annotation)) else inspect.Parameter.empty
