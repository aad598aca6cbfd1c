"""Values that cannot travel: what is said of them."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from io import StringIO
from pathlib import PurePosixPath
from typing import Any

import msgspec
import pytest

from taskq.codec import decode_value, encode_value
from taskq.errors import NotEncodable


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Row(msgspec.Struct, array_like=True):
    a: int
    b: set[int] | msgspec.UnsetType = msgspec.UNSET


class Session:
    """A class that nobody can send."""


class Float64(float):
    """Stands in for NumPy's scalar of that name, which is a float too."""


Float64.__module__ = "numpy"


@dataclass
class User:
    name: str
    session: Any = None

    @property
    def broken(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Session(), "value ({here}.Session) cannot travel; send plain data"),
        ({"a": [1, 2, 3, Session()]}, "value['a'][3] ({here}.Session) cannot travel"),
        (User("x", Session()), "value.session ({here}.Session) cannot travel"),
        (
            [{"u": User("x", {1: (0, Session())})}],
            "value[0]['u'].session[1][1] ({here}.Session) cannot travel",
        ),
        ({(1, "x"): {"y": Session}}, "value[(1, 'x')]['y'] (type) cannot travel"),
        (
            {frozenset({"a"}): [User("x", Session())]},
            "value[frozenset({'a'})][0].session ({here}.Session) cannot travel",
        ),
        ({"a": {(1, Colour): 1}}, "value['a'] has the key (1, <enum 'Colour'>), which ("),
        ({"red": 1, Colour.RED: 2}, "value has two keys that would arrive as one"),
        ([{(1, Session)}], "value[0]{…}[1] (type) cannot travel"),
        (["ok", "\ud800"], "value[1] (str) cannot travel: it has a lone surrogate"),
        ([1 << 9_000_000], "value[0] (int) cannot travel: it takes 1125001 bytes"),
        ([Decimal("1" * 1_100_000)], "value[0] (decimal.Decimal) cannot travel: it takes 1100000 bytes"),
        ({1 << 40_000: Session()}, "value[<int>] ({here}.Session) cannot travel"),
        ([Row(1)], "value[0] has a field that is UNSET"),
        ([Float64(1)], "value[0] (numpy.Float64) cannot travel; send value.item()"),
        (deque([1]), "value (collections.deque) cannot travel; send a list"),
        (range(3), "value (range) cannot travel; send a list"),
        (PurePosixPath("/x"), "value (pathlib.PurePosixPath) cannot travel; send str(value)"),
        ([StringIO("x")], "value[0] (_io.StringIO) cannot travel; send its path, or its bytes"),
        (1j, "value (complex) cannot travel"),
        ([msgspec.msgpack.Ext(3, b"\x90")], "value[0] (msgspec.msgpack.Ext) cannot travel"),
        (msgspec.Raw(b"\xc0"), "value (msgspec.Raw) cannot travel"),
        (len, "value (builtin_function_or_method) cannot travel"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_cannot_travel_is_named_with_the_path_to_it(value: Any, says: str) -> None:
    with pytest.raises(NotEncodable) as raised:
        encode_value(value)

    assert str(raised.value).startswith(says.replace("{here}", __name__))


def test_the_path_begins_where_the_caller_says() -> None:
    with pytest.raises(NotEncodable, match=r"^payload\['a'\] \("):
        encode_value({"a": Session()}, "payload")


class Leaky(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise RuntimeError("no clock here")

    dst = utcoffset

    def tzname(self, moment: datetime | None) -> str:
        return "nowhere"


def test_what_code_of_the_value_raises_is_told_with_the_path() -> None:
    with pytest.raises(
        NotEncodable, match=r"^value\[0\] \(datetime.datetime\) cannot travel: no clock here$"
    ):
        encode_value([datetime(2024, 1, 1, tzinfo=Leaky())])


def test_a_dataclass_without_one_of_its_values_is_refused() -> None:
    user = User("x")
    del user.name

    with pytest.raises(NotEncodable, match="no attribute 'name'"):
        encode_value(user)


def nested(depth: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS: list[Callable[[Any], Any]] = [
    lambda value: [value],
    lambda value: (value,),
    lambda value: {"k": value},
    lambda value: frozenset([value]),
    lambda value: User("x", value),
]


@pytest.mark.parametrize("wrap", WRAPS)
def test_a_hundred_levels_travel_and_one_more_is_refused(wrap: Callable[[Any], Any]) -> None:
    arrived = decode_value(encode_value(nested(100, wrap)))
    for _ in range(100):
        [*_, arrived] = arrived.values() if isinstance(arrived, dict) else arrived

    assert arrived == 0
    with pytest.raises(NotEncodable, match="nested deeper than 100 levels"):
        encode_value(nested(101, wrap))
    with pytest.raises(NotEncodable, match="nested deeper than 100 levels"):
        encode_value(nested(900, wrap))


def test_what_a_deep_stack_could_encode_a_deep_stack_can_decode() -> None:
    data = encode_value(nested(100, WRAPS[1]))

    def below(frames: int) -> Any:
        return below(frames - 1) if frames else decode_value(data)

    assert below(500) == nested(100, WRAPS[1])


def test_a_value_that_contains_itself_is_refused_with_a_short_path() -> None:
    cycle: dict[str, Any] = {"a": 1}
    cycle["me"] = [cycle]

    with pytest.raises(NotEncodable) as raised:
        encode_value(cycle)

    assert str(raised.value).startswith("value['me'][0]['me'][0]")
    assert "does it contain itself?" in str(raised.value)
    assert len(str(raised.value)) < 200
