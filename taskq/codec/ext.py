"""What msgpack cannot carry, as numbered Ext codes. A number is never given another meaning.

    code  carries                         payload
    1     int beyond 64 bits              big-endian two's complement
    2     tuple                           msgpack array
    3     set                             msgpack array
    4     frozenset                       msgpack array
    5     dict with keys beyond msgpack   msgpack array: key, value, key, value, …
    6     datetime                        msgpack array: local time as ISO 8601, its offset from UTC in
                                          microseconds or nil, its zoneinfo key or nil, its fold
    7     date                            ISO 8601
    8     time                            as 6
    9     timedelta                       microseconds, as 1
    10    Decimal                         text
    11    UUID                            its 16 bytes
    12    Secret                          its value, as msgpack

-1 is msgpack's own timestamp: a datetime whose tzinfo is `timezone.utc`, with fold 0.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec.msgpack import Decoder, Encoder, Ext

from taskq.secret import Secret

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

INT, TUPLE, SET, FROZENSET, DICT, DATETIME, DATE, TIME, TIMEDELTA, DECIMAL, UUID_, SECRET = range(1, 13)

LONGEST = 1 << 20
"""The most bytes that an int, or the text of a Decimal, may take."""

# Without dots: it is a path below the system's zones.
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
    if value.tzinfo is UTC and type(value) is datetime and not value.fold:
        return value
    local = datetime.combine(date(value.year, value.month, value.day), _clock(value))
    return _pack_local(DATETIME, value, local)


def pack_date(value: date) -> Ext:
    return Ext(DATE, date.isoformat(value).encode())


def pack_time(value: time) -> Ext:
    return _pack_local(TIME, value, _clock(value))


def _clock(value: datetime | time) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond)


def _pack_local(code: int, value: datetime | time, local: datetime | time) -> Ext:
    offset = value.utcoffset()
    offset_us = None if offset is None else offset // _MICROSECOND
    from zoneinfo import ZoneInfo

    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    return Ext(code, encode((local, offset_us, zone, value.fold)))


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


def pack_secret(revealed: Any) -> Ext:
    return Ext(SECRET, encode(revealed))


def unpack(code: int, data: memoryview) -> Any:
    """Rebuild what was packed as `code`: the `ext_hook` of every decoder. Bad bytes raise in any way."""
    return _READERS[code](data)


_array = Decoder(tuple[Any, ...], ext_hook=unpack).decode
_anything = Decoder(ext_hook=unpack).decode
_datetime = Decoder(tuple[datetime, int | None, str | None, int]).decode
_time = Decoder(tuple[time, int | None, str | None, int]).decode


def _read_int(data: memoryview) -> int:
    return int.from_bytes(_short(data), "big", signed=True)


def _read_dict(data: memoryview) -> dict[Any, Any]:
    flat = iter(_array(data))
    return dict(zip(flat, flat, strict=True))


def _read_datetime(data: memoryview) -> datetime:
    local, offset, key, fold = _datetime(data)
    zone = _zone(key)
    local = local.replace(tzinfo=_fixed(offset), fold=fold)
    if zone is None or offset is None:
        return local
    there = local.replace(tzinfo=zone)
    # Where this machine's rules for the zone differ from the sender's, the instant is what stays.
    return there if there.utcoffset() == local.utcoffset() else local.astimezone(zone)


def _read_time(data: memoryview) -> time:
    local, offset, key, fold = _time(data)
    return local.replace(tzinfo=_zone(key) or _fixed(offset), fold=fold)


def _fixed(offset_us: int | None) -> timezone | None:
    return None if offset_us is None else timezone(timedelta(microseconds=offset_us))


def _zone(key: str | None) -> ZoneInfo | None:
    """Find a time zone; None where this machine does not have it."""
    if key is None:
        return None
    if len(key) > 64 or not _ZONE_KEY.fullmatch(key):
        raise ValueError(f"{key[:64]!r} names no time zone")
    from zoneinfo import TZPATH, ZoneInfo

    # ZoneInfo imports a package within `tzdata` for a key that the system does not have: only for one that is there.
    here = any(os.path.isfile(f"{folder}/{key}") for folder in TZPATH)  # noqa: PTH113 - pathlib can wait
    if not here and key not in _packaged_zones():
        return None
    try:
        return ZoneInfo(key)
    except (LookupError, ValueError, OSError):
        return None


@cache
def _packaged_zones() -> frozenset[str]:
    """The keys that the package `tzdata` has, where it is installed."""
    from importlib.resources import files

    try:
        return frozenset(files("tzdata").joinpath("zones").read_text("utf-8").split())
    except (ModuleNotFoundError, OSError):
        return frozenset()


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
    SECRET: lambda data: Secret(_anything(data)),
}
