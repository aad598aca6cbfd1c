"""Decoded values as plain JSON, whatever they are: bounded, without a way to raise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import date, time, timedelta
from typing import Any, cast

from taskq.codec.code import PICKLE
from taskq.codec.values import decode_value
from taskq.redaction import DEFAULT, Redaction
from taskq.secret import MASK

_DEEPEST = 32
_MOST = 10_000
_LONGEST_TEXT = 2_000  # of what JSON has no form for
_LONGEST_INT_BITS = 4_096  # of more, Python itself refuses to write the digits

CUT = "…"
"""Stands where something was left out because there is too much of it."""


def decode_plain(data: bytes, redaction: Redaction = DEFAULT) -> Any:
    """Decode a value of the codec and give it as plain JSON, without what `redaction` hides.

    Raises:
        BadMessage: the bytes are no such value.
    """
    if data[:1] == PICKLE:
        return f"<pickled, {len(data):,} bytes>"  # shown by who has keys or not: nothing is loaded to be looked at
    return plain(decode_value(data), redaction)


def plain(value: Any, redaction: Redaction = DEFAULT) -> Any:
    """Give `value` as None, bool, int, float, str, list and dict, in 32 levels and 10,000 parts at most.

    A Secret, and what has a name that `redaction` hides, is masked.
    """
    return _Plain(redaction.hides).of(value, 0)


class _Plain:
    def __init__(self, hides: Callable[[object], bool]) -> None:
        self._left = _MOST
        self._hides = hides

    def of(self, value: Any, depth: int) -> Any:
        kind = cast("type[object]", type(value))
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            return CUT
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, int):
            bits = value.bit_length()
            return int(value) if bits <= _LONGEST_INT_BITS else f"<int of {bits} bits>"
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if kind is dict:
            return self._mapping(value, depth)
        if kind in (list, tuple, set, frozenset):
            return self._items(value, depth)
        return _other(value)

    def _items(self, values: Iterable[Any], depth: int) -> list[Any]:
        items: list[Any] = []
        for value in values:
            items.append(self.of(value, depth + 1))
            if self._left < 0:
                break
        return items

    def _mapping(self, values: dict[Any, Any], depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key, value in values.items():
            name = key if isinstance(key, str) else str(self.of(key, depth + 1))
            mapping[name] = MASK if self._hides(name) else self.of(value, depth + 1)
            if self._left < 0:
                break
        return mapping


def _other(value: Any) -> str | float:
    """What JSON has no form for."""
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    shown = repr(value[: _LONGEST_TEXT + 1]) if isinstance(value, bytes) else str(value)
    return shown if len(shown) <= _LONGEST_TEXT else shown[:_LONGEST_TEXT] + CUT
