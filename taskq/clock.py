"""Durations as people write them, and the two clocks by their names.

Instants that are stored come from Redis `TIME`; durations are measured with `time.monotonic`. What a name
ending in `_ms` holds is an integer of milliseconds.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_EXPECTED = (
    "a duration is a number of seconds, a timedelta, or text such as '500ms', '30s', '10m', '2h', '7d'"
)

Duration = int | float | str | timedelta
"""Seconds as a number, a `timedelta`, or text: `"500ms"`, `"30s"`, `"10m"`, `"2h"`, `"7d"`, `"1h30m"`."""

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST_TEXT = 200
LONGEST_MS = 100 * 365 * 86_400_000
"""The longest duration that is accepted, from people and from messages: 100 years."""

LATEST_MS = 253_402_300_799_999
"""The last instant that is accepted: the end of the year 9999, as `datetime` has it."""


def to_ms(value: Duration) -> int:
    """Give `value` in milliseconds.

    Raises:
        ValueError: the text is no duration, or the duration is negative, not finite, or over 100 years.
        TypeError: `value` is of another type.
    """
    if isinstance(value, bool):
        raise TypeError(f"{value!r}: {_EXPECTED}")
    if isinstance(value, timedelta):
        ms: float = value.total_seconds() * 1_000
    elif isinstance(value, (int, float)):
        ms = value * 1_000
    elif isinstance(value, str):
        ms = _parse(value)
    else:
        raise TypeError(f"{value!r}: {_EXPECTED}")
    if not 0 <= ms <= LONGEST_MS:
        raise ValueError(f"{value!r} is not between 0 and 100 years")
    return round(ms)


def _parse(text: str) -> float:
    compact = text.strip().replace(" ", "")
    if len(compact) > _LONGEST_TEXT:  # the pattern takes the square of its length
        raise ValueError(f"{text[:_LONGEST_TEXT]!r}…: {_EXPECTED}")
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r}: {_EXPECTED}")
    return sum(float(number) * _UNITS_MS[unit] for number, unit in parts)


def instant_ms(value: datetime) -> int:
    """Give an aware datetime as milliseconds since the epoch.

    Raises:
        ValueError: `value` is naive, so that no one can know which instant it means.
    """
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"{value!r} has no time zone; give one, for example datetime.now(timezone.utc)")
    return round(value.timestamp() * 1_000)
