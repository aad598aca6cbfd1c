"""Values that are not to be shown."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast, final, get_origin

T_co = TypeVar("T_co", covariant=True)

MASK = "<secret>"
"""Stands wherever a secret value would be shown."""


@final
class Secret(Generic[T_co]):
    """A value that can be used and sent, and that no repr, text, log line or f-string shows.

    An argument that is annotated `Secret[str]` arrives as one. Whoever enqueues gives a Secret, or the plain value.
    Two are equal if their values are; it is true if its value is.
    """

    __slots__ = ("_value",)

    def __init__(self, value: T_co) -> None:
        self._value = value

    def reveal(self) -> T_co:
        """Give the value."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK  # whatever the spec: it was meant for the value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return bool(self._value == cast("Secret[object]", other)._value)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)


def revealed(value: Any) -> Any:
    """Give the value of a Secret, and of what is none itself."""
    kind = cast("type[object]", type(value))
    return value.reveal() if kind is Secret else value


def is_secret(annotation: Any) -> bool:
    """Whether an annotation is `Secret` or `Secret[...]`."""
    return annotation is Secret or get_origin(annotation) is Secret
