"""What msgpack cannot carry, as numbered Ext codes. A number is never given another meaning.

    code  carries                         payload
    1     int beyond 64 bits              big-endian two's complement
    2     tuple                           msgpack array
    3     set                             msgpack array
    4     frozenset                       msgpack array
    5     dict with keys beyond msgpack   msgpack array: key, value, key, value, …
    6     datetime                        ISO 8601, then the zoneinfo key in brackets if it has one
    7     date                            ISO 8601
    8     time                            as datetime
    9     timedelta                       microseconds, as 1
    10    Decimal                         text
    11    UUID                            its 16 bytes

-1 is msgpack's own timestamp: a datetime whose tzinfo is `timezone.utc`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec.msgpack import Decoder, Encoder, Ext

INT, TUPLE, SET, FROZENSET, DICT, DATETIME, DATE, TIME, TIMEDELTA, DECIMAL, UUID_ = range(1, 12)

LONGEST = 1 << 20
"""The most bytes that an int, or the text of a Decimal, may take."""

# Without dots: a key that the system does not have is looked up as a package inside `tzdata`.
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_MICROSECOND = timedelta(microseconds=1)

encode = Encoder().encode


def pack_int(value: int) -> Ext:
    """Raises ValueError when `value` takes over `LONGEST` bytes."""
    size = value.bit_length() // 8 + 1
    if size > LONGEST:
        raise ValueError(f"it takes {size} bytes, and {LONGEST} are the most")
    return Ext(INT, value.to_bytes(size, "big", signed=True))


def pack_items(code: int, items: Iterable[Any]) -> Ext:
    """Pack the content of a tuple, a set, a frozenset, or a dict's keys and values in turn."""
    return Ext(code, encode(items))


def pack_datetime(value: datetime) -> Ext | datetime:
    if value.tzinfo is UTC and type(value) is datetime:
        return value
    return Ext(DATETIME, _iso(datetime.isoformat(value), value.tzinfo))


def pack_date(value: date) -> Ext:
    return Ext(DATE, date.isoformat(value).encode())


def pack_time(value: time) -> Ext:
    return Ext(TIME, _iso(time.isoformat(value), value.tzinfo))


def _iso(text: str, zone: Any) -> bytes:
    key = zone.key if isinstance(zone, ZoneInfo) else None
    return (f"{text}[{key}]" if key else text).encode()


def pack_timedelta(value: timedelta) -> Ext:
    return Ext(TIMEDELTA, pack_int(value // _MICROSECOND).data)


def pack_decimal(value: Decimal) -> Ext:
    """Raises ValueError when `value` has over `LONGEST` digits."""
    text = Decimal.__str__(value).encode()
    if len(text) > LONGEST:
        raise ValueError(f"it takes {len(text)} bytes, and {LONGEST} are the most")
    return Ext(DECIMAL, text)


def pack_uuid(value: UUID) -> Ext:
    return Ext(UUID_, value.bytes)


def unpack(code: int, data: memoryview) -> Any:
    """Rebuild what was packed as `code`: the `ext_hook` of every decoder. Bad bytes raise in any way."""
    return _READERS[code](data)


_array = Decoder(tuple[Any, ...], ext_hook=unpack).decode


def _read_int(data: memoryview) -> int:
    return int.from_bytes(_short(data), "big", signed=True)


def _read_dict(data: memoryview) -> dict[Any, Any]:
    flat = iter(_array(data))
    return dict(zip(flat, flat, strict=True))


def _read_datetime(data: memoryview) -> datetime:
    text, zone = _text_and_zone(data)
    value = datetime.fromisoformat(text)
    if zone is None:
        return value
    # The offset tells the two readings of a repeated hour apart. Where this machine's zone has neither,
    # its rules differ from the sender's: the instant is what stays.
    for fold in (0, 1):
        local = value.replace(tzinfo=zone, fold=fold)
        if local.utcoffset() == value.utcoffset():
            return local
    return value.astimezone(zone)


def _read_time(data: memoryview) -> time:
    text, zone = _text_and_zone(data)
    value = time.fromisoformat(text)
    return value if zone is None else value.replace(tzinfo=zone)


def _text_and_zone(data: memoryview) -> tuple[str, ZoneInfo | None]:
    text, bracket, key = str(data, "ascii").partition("[")
    if not bracket:
        return text, None
    key = key.removesuffix("]")
    if len(key) > 64 or not _ZONE_KEY.fullmatch(key):
        raise ValueError(f"{key[:64]!r} names no time zone")
    try:
        return text, ZoneInfo(key)
    except (LookupError, ValueError, OSError):
        return text, None


def _read_decimal(data: memoryview) -> Decimal:
    return Decimal(str(_short(data), "ascii"))


def _short(data: memoryview) -> memoryview:
    if len(data) > LONGEST:
        raise ValueError(f"a number of {len(data)} bytes, and {LONGEST} are the most")
    return data


_READERS: dict[int, Callable[[memoryview], Any]] = {
    INT: _read_int,
    TUPLE: _array,
    SET: lambda data: set(_array(data)),
    FROZENSET: lambda data: frozenset(_array(data)),
    DICT: _read_dict,
    DATETIME: _read_datetime,
    DATE: lambda data: date.fromisoformat(str(data, "ascii")),
    TIME: _read_time,
    TIMEDELTA: lambda data: timedelta(microseconds=_read_int(data)),
    DECIMAL: _read_decimal,
    UUID_: lambda data: UUID(bytes=bytes(data)),
}
