"""Annotated functions, ways to send them a call, and classes to annotate with."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskq.codec import CallCodec

BY_NAME = CallCodec(None)


def send(function: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Pass a call from a producer that knows the function to a consumer that does."""
    return CallCodec(function).decode_call(*CallCodec(function).encode_call(args, kwargs))


def send_by_name(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Pass a call from a producer that knows only its name."""
    return CallCodec(function).decode_call(*BY_NAME.encode_call(args, kwargs))


def annotated(annotation: Any) -> Callable[..., Any]:
    def function(it: Any) -> Any: ...

    function.__annotations__ = {"it": annotation, "return": annotation}
    return function


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Planet(enum.Enum):
    EARTH = (5.97e24, 6.37e6)
    MARS = (6.42e23, 3.39e6)


@dataclass
class Address:
    city: str
    lines: tuple[str, ...] = ()
    moved: datetime | None = None


@dataclass(frozen=True)
class Tag:
    name: str
    colour: Colour = Colour.RED


@dataclass
class Node:
    value: int
    next: Node | None = None
    extra: Any = None
