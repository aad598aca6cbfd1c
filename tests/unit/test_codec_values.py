"""Values without annotations: what arrives of them."""

from __future__ import annotations

import enum
import itertools
import math
from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskq.codec import decode_value, encode_value

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]


def canonical(value: Any) -> Any:
    """Give something that is equal for two values just when they are the same, with type and NaN and zone."""
    kind = type(value).__qualname__
    if isinstance(value, (list, tuple)):
        return kind, [canonical(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return kind, sorted((canonical(item) for item in value), key=repr)
    if isinstance(value, dict):
        return kind, sorted(((canonical(k), canonical(v)) for k, v in value.items()), key=repr)
    if isinstance(value, (datetime, time)):
        return kind, value.isoformat(), getattr(value.tzinfo, "key", None), value.fold
    return kind, repr(value) if not isinstance(value, int) else hex(value)


def round_trip(value: Any) -> Any:
    return decode_value(encode_value(value))


def offsets() -> st.SearchStrategy[tzinfo]:
    return st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)


zones = st.sampled_from(ZONES).map(ZoneInfo) | offsets() | st.just(UTC)
hashable_leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(1 << 200), 1 << 200)
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.datetimes()
    | st.datetimes(timezones=zones)
    | st.dates()
    | st.times()
    | st.times(timezones=zones)
    | st.timedeltas()
)
hashables = st.recursive(
    hashable_leaves,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
values = st.recursive(
    hashables | st.decimals(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(hashables, max_size=4)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=15,
)


@settings(max_examples=500, deadline=None)
@given(values)
def test_what_travels_without_annotations_arrives_as_it_was(value: Any) -> None:
    assert canonical(round_trip(value)) == canonical(value)


@pytest.mark.parametrize("bits", [62, 63, 64, 65, 71, 72, 127, 128, 1 << 20])
def test_integers_arrive_at_every_size_around_a_boundary(bits: int) -> None:
    near = [sign * (1 << bits) + step for sign in (1, -1) for step in (-1, 0, 1)]

    assert round_trip(near) == near


def test_nan_infinities_and_the_signed_zero_arrive() -> None:
    nan, minus, plus, zero = round_trip([math.nan, -math.inf, math.inf, -0.0])

    assert math.isnan(nan)
    assert (minus, plus, math.copysign(1, zero)) == (-math.inf, math.inf, -1)


def test_both_readings_of_a_repeated_hour_keep_their_zone_and_their_instant() -> None:
    for fold in (0, 1):
        sent = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=fold)
        arrived = round_trip(sent)

        assert (arrived.tzinfo, arrived.fold) == (sent.tzinfo, fold)
        assert arrived.astimezone(UTC) == sent.astimezone(UTC)


HOUR_US = 3_600_000_000


def received(code: int, payload: Any) -> Any:
    """Decode an Ext code written by hand, as from a machine with another time zone database."""
    return decode_value(
        b"\x01" + msgspec.msgpack.encode(msgspec.msgpack.Ext(code, msgspec.msgpack.encode(payload)))
    )


def test_a_zone_unknown_to_the_receiver_leaves_the_offset() -> None:
    arrived = received(6, ("2030-06-01T12:00:00", 5 * HOUR_US, "Moon/Tranquility", 0))

    assert arrived == datetime(2030, 6, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    assert arrived.utcoffset() == timedelta(hours=5)


def test_where_the_receivers_zone_has_other_rules_the_instant_stays() -> None:
    arrived = received(6, ("2024-06-01T12:00:00", 9 * HOUR_US, "Europe/Berlin", 0))

    assert arrived == datetime(2024, 6, 1, 3, tzinfo=UTC)
    assert arrived.tzinfo == ZoneInfo("Europe/Berlin")


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Moment(datetime):
    pass


class Level(enum.IntEnum):
    HIGH = 3


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: Any


@dataclass
class Address:
    city: str
    lines: tuple[str, ...]


class Plain(msgspec.Struct, rename="camel", tag="plain"):
    first_name: str
    nothing: int | msgspec.UnsetType = msgspec.UNSET


class Row(msgspec.Struct, array_like=True):
    a: int
    b: set[int] | msgspec.UnsetType = msgspec.UNSET


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        (Text("a"), "a"),
        (Whole(1 << 70), 1 << 70),
        (Real(1.5), 1.5),
        (Moment(2024, 1, 2), datetime(2024, 1, 2)),  # noqa: DTZ001 - naive on purpose
        (Level.HIGH, 3),
        (Colour.RED, "red"),
        (Colour.PAIR, (1, 2)),
        (Mode.READ | Mode.WRITE, 3),
        (Point(1, {2}), (1, {2})),
        (defaultdict(list, a=[(1,)]), {"a": [(1,)]}),
        (OrderedDict(a=1), {"a": 1}),
        (Counter("aab"), {"a": 2, "b": 1}),
        ({Colour.RED: 1, Point(1, 2): 2}, {"red": 1, (1, 2): 2}),
        (Address("Ulm", ("x", "y")), {"city": "Ulm", "lines": ("x", "y")}),
        (Plain("Ann"), {"type": "plain", "firstName": "Ann"}),
        (Row(1, {2}), [1, {2}]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_types_arrive_as_documented(sent: Any, arrives: Any) -> None:
    assert canonical(round_trip(sent)) == canonical(arrives)
    assert canonical(round_trip([{"k": sent}])) == canonical([{"k": arrives}])


def test_ext_codes_keep_their_numbers() -> None:
    at = timezone(timedelta(hours=2))
    written = {
        1: 1 << 64,
        2: (),
        3: set[int](),
        4: frozenset[int](),
        5: {(): 0},
        6: datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=at),
        7: date(2024, 1, 2),
        8: time(3, 4, 5, 6),
        9: timedelta(seconds=-1),
        10: Decimal("1.50"),
        11: UUID(int=1),
    }
    read = {code: msgspec.msgpack.decode(encode_value(value)[1:]) for code, value in written.items()}

    assert {code: ext.code for code, ext in read.items()} == {code: code for code in written}
    assert {code: bytes(ext.data) for code, ext in read.items()} == {
        1: b"\x01" + bytes(8),
        2: b"\x90",
        3: b"\x90",
        4: b"\x90",
        5: b"\x92\xd4\x02\x90\x00",
        6: b"\x94\xba2024-01-02T03:04:05.000006\xcf\x00\x00\x00\x01\xad'H\x00\xc0\x00",
        7: b"2024-01-02",
        8: b"\x94\xaf03:04:05.000006\xc0\xc0\x00",
        9: b"\xf0\xbd\xc0",
        10: b"1.50",
        11: UUID(int=1).bytes,
    }


def test_plain_data_is_plain_msgpack() -> None:
    plain = {"a": [1, 2.5, None, True, "x", b"y"], "b": datetime(2024, 1, 1, tzinfo=UTC)}

    assert encode_value(plain) == b"\x01" + msgspec.msgpack.encode(plain)


def test_shared_values_arrive_once_for_each_place() -> None:
    shared = [(1,)]

    assert round_trip(list(itertools.repeat(shared, 3))) == [shared] * 3
