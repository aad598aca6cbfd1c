"""Sizes as people write them, in bytes."""

from __future__ import annotations

import re

Size = int | str
"""Bytes as a number, or text: `"512"`, `"4KB"`, `"16MB"`, `"1GB"`; KB is 1,024."""

_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}
_LARGEST = 1 << 50
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMG]?B|)", re.IGNORECASE)
_EXPECTED = "a size is a number of bytes, or text such as '512', '4KB', '16MB'"


def to_bytes(value: Size) -> int:
    """Give `value` in bytes.

    Raises:
        ValueError: the text is no size, or the number is negative.
        TypeError: `value` is of another type.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError(f"{value!r}: {_EXPECTED}")
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"{value!r}: {_EXPECTED}")
        return value
    found = _SIZE.fullmatch(value.strip())
    if found is None:
        raise ValueError(f"{value!r}: {_EXPECTED}")
    size = float(found[1]) * _UNITS[found[2].upper()]
    if size > _LARGEST:
        raise ValueError(f"{value[:50]!r} is above 1 PB")
    return round(size)
