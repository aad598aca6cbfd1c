"""What arrives as annotated."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Protocol,
    TypedDict,
    TypeVar,
)
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskq.codec import CallCodec
from taskq.errors import NotEncodable
from tests.unit.annotated import BY_NAME, Address, Colour, Node, Planet, Tag, annotated, send, send_by_name

T = TypeVar("T")


class Size(enum.IntEnum):
    SMALL = 1
    LARGE = 2


class Mode(enum.Flag):
    READ = 1
    WRITE = 2


class Item(msgspec.Struct, rename="camel"):
    unit_price: Decimal
    tags: set[Tag] = msgspec.field(default_factory=set[Tag])


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    good: bool


class Row(msgspec.Struct, array_like=True):
    a: int
    when: datetime


class Options(TypedDict):
    depth: int
    name: NotRequired[str]


class Place(NamedTuple):
    x: int
    seen: frozenset[date]


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Derived:
    width: int
    area: int = field(init=False)

    def __post_init__(self) -> None:
        self.area = self.width**2


berlin = ZoneInfo("Europe/Berlin")


moments = st.datetimes() | st.datetimes(
    timezones=st.sampled_from([UTC, berlin, timezone(timedelta(hours=2))])
)


tags = st.builds(Tag, st.text(max_size=5), st.sampled_from(Colour))


addresses = st.builds(
    Address, st.text(max_size=5), st.lists(st.text(max_size=3)).map(tuple), st.none() | moments
)


pairs = st.tuples(st.integers(), st.text(max_size=2))


nodes = st.recursive(
    st.builds(Node, st.integers()),
    lambda inner: st.builds(Node, st.integers(), inner, st.sets(st.integers(), max_size=2)),
)


ANNOTATED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (int, st.integers(-(1 << 80), 1 << 80)),
    (float, st.floats(allow_nan=False)),
    (str, st.text()),
    (bytes, st.binary()),
    (bytearray, st.binary().map(bytearray)),
    (bool | None, st.none() | st.booleans()),
    (int | float, st.integers(-5, 5) | st.floats(allow_nan=False)),
    (datetime, moments),
    (date, st.dates()),
    (time, st.times() | st.times(timezones=st.sampled_from([UTC, berlin]))),
    (timedelta, st.timedeltas()),
    (Decimal, st.decimals(allow_nan=False)),
    (Decimal | float, st.decimals(allow_nan=False) | st.floats(allow_nan=False)),
    (UUID, st.uuids()),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (Colour, st.sampled_from(Colour)),
    (Size, st.sampled_from(Size)),
    (Mode, st.sampled_from([Mode(0), Mode.READ, Mode.READ | Mode.WRITE])),
    (Planet, st.sampled_from(Planet)),
    (Planet | None, st.none() | st.sampled_from(Planet)),
    (list[int], st.lists(st.integers(-(1 << 66), 1 << 66))),
    (tuple[int, str], pairs),
    (set[tuple[int, ...]], st.sets(st.lists(st.integers()).map(tuple), max_size=3)),
    (frozenset[UUID], st.frozensets(st.uuids(), max_size=3)),
    (dict[tuple[int, str], list[date]], st.dictionaries(pairs, st.lists(st.dates(), max_size=2), max_size=3)),
    (dict[Colour, set[int]], st.dictionaries(st.sampled_from(Colour), st.sets(st.integers()))),
    (dict[str, Any], st.dictionaries(st.text(max_size=3), st.tuples(st.integers()) | st.sets(st.integers()))),
    (list[Any], st.lists(st.decimals(allow_nan=False) | moments)),
    (Address, addresses),
    (list[Address | None], st.lists(st.none() | addresses, max_size=3)),
    (Tag, tags),
    (Item, st.builds(Item, st.decimals(allow_nan=False), st.sets(tags, max_size=3))),
    (Cat | Dog | None, st.none() | st.builds(Cat, st.integers()) | st.builds(Dog, st.booleans())),
    (Row, st.builds(Row, st.integers(), moments)),
    (Options, st.fixed_dictionaries({"depth": st.integers()}, optional={"name": st.text()})),
    (Place, st.builds(Place, st.integers(), st.frozensets(st.dates(), max_size=3))),
    (Box[set[int]], st.builds(Box[set[int]], st.sets(st.integers()))),
    (Box[Any], st.builds(Box[Any], st.lists(st.integers()).map(tuple))),
    (Node, nodes),
    (Derived, st.builds(Derived, st.integers(-9, 9))),
    (str | bytes, st.text() | st.binary()),
    (date | datetime, st.dates() | moments),
    (list[int] | set[int], st.lists(st.integers()) | st.sets(st.integers())),
    (Annotated[int, msgspec.Meta(ge=0)], st.integers(0)),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "values"), ANNOTATED, ids=lambda it: str(it)[:60])
def test_what_is_annotated_arrives_as_annotated(annotation: Any, values: st.SearchStrategy[Any]) -> None:
    here, there = CallCodec(annotated(annotation)), CallCodec(annotated(annotation))

    @settings(max_examples=100, deadline=None)
    @given(values)
    def holds(value: Any) -> None:
        for sender in (here, BY_NAME):
            (by_position,), _ = there.decode_call(*sender.encode_call((value,), {}))
            _, by_keyword = there.decode_call(*sender.encode_call((), {"it": value}))
            arrived = [by_position, by_keyword["it"], there.decode_result(sender.encode_result(value))]

            assert arrived == [value] * 3
            assert {type(it) for it in arrived} == {type(value)}

    holds()


def test_one_argument_that_needs_an_ext_code_leaves_the_others_as_annotated() -> None:
    # A record is a key only where it is annotated: untyped it would arrive as a dict.
    def function(when: datetime, counts: dict[Tag, int], big: int, *, late: dict[Tag, int]) -> None: ...

    counts = {Tag("x", Colour.BLUE): 1}
    naive = datetime(2024, 1, 2)  # noqa: DTZ001 - that is what needs one

    assert send(function, naive, counts, 1, late=counts) == ((naive, counts, 1), {"late": counts})
    assert send(function, naive, counts, 1 << 70, late=counts) == ((naive, counts, 1 << 70), {"late": counts})


def test_a_set_of_records_arrives_as_list_where_nothing_is_annotated() -> None:
    sent = {Tag("a"), Tag("b")}
    (arrived,), _ = send(annotated(Any), sent)

    assert sorted(it["name"] for it in arrived) == ["a", "b"]
    assert send_by_name(annotated(frozenset[Tag]), sent) == ((frozenset(sent),), {})
    with pytest.raises(NotEncodable, match=r"has the key \(Tag\(.*\),\), which would arrive as a dict"):
        BY_NAME.encode_call(({(Tag("a"),): 1},), {})


def test_offsets_and_zones_stay_inside_annotated_classes() -> None:
    sent = Address("Ulm", moved=datetime(2024, 10, 27, 2, 30, tzinfo=berlin, fold=1))
    (arrived,), _ = send(annotated(Address), sent)

    assert arrived.moved.tzinfo is berlin
    assert arrived.moved.fold == 1


def test_an_integer_arrives_as_the_float_and_a_list_as_the_set_that_is_annotated() -> None:
    assert repr(send(annotated(float), 3)) == "((3.0,), {})"
    assert send(annotated(set[int]), [1, 2, 2]) == (({1, 2},), {})
    assert send(annotated(Sequence[int]), (1, 2)) == (([1, 2],), {})
    assert send(annotated(Mapping[str, int]), {"a": 1}) == (({"a": 1},), {})
    assert send(annotated(list[Any]), ({1},)) == (([{1}],), {})


def test_a_bool_fits_an_int_and_a_datetime_a_date_as_in_python() -> None:
    moment = datetime(2024, 1, 2, tzinfo=UTC)

    assert send(annotated(int), True) == ((True,), {})
    assert send(annotated(int | None), True) == ((True,), {})
    assert send_by_name(annotated(date), moment) == ((moment,), {})


def test_text_fits_what_has_a_text_form_as_from_a_command_line() -> None:
    assert send_by_name(annotated(date), "2024-01-02") == ((date(2024, 1, 2),), {})
    assert send_by_name(annotated(UUID), str(UUID(int=5))) == ((UUID(int=5),), {})
    assert send_by_name(annotated(Decimal), "1.50") == ((Decimal("1.50"),), {})
    assert send_by_name(annotated(Colour), "blue") == ((Colour.BLUE,), {})


def test_what_is_sent_by_name_arrives_in_annotated_classes() -> None:
    def function(order: Item, *places: Place, box: Box[Address]) -> None: ...

    args, kwargs = send_by_name(
        function,
        {"unitPrice": Decimal("9.90"), "tags": [{"name": "new"}]},
        (1, {date(2024, 1, 2)}),
        box={"content": {"city": "Ulm", "lines": ["x"]}},
    )

    assert args == (Item(Decimal("9.90"), {Tag("new")}), Place(1, frozenset({date(2024, 1, 2)})))
    assert kwargs == {"box": Box(Address("Ulm", ("x",)))}


class Sized(Protocol):
    size: int


@pytest.mark.parametrize(
    "annotation",
    [Any, object, T, Sized, list[Sized], Iterable[int], type[int], "Unknown", "list[Unknown]", "1 +"],
    ids=str,
)
def test_an_annotation_that_says_nothing_counts_as_none(annotation: Any) -> None:
    value = {(1, 2): {Decimal(3)}, "x": [datetime(2024, 1, 2, tzinfo=berlin)]}

    assert send(annotated(annotation), value) == ((value,), {})


def test_a_union_whose_members_arrive_as_themselves_is_fine() -> None:
    day, moment = date(2024, 1, 2), datetime(2024, 1, 2, tzinfo=berlin)

    assert send(annotated(date | datetime), day) == ((day,), {})
    assert send(annotated(date | datetime), moment) == ((moment,), {})


def test_an_annotation_that_no_dict_may_have_is_read_all_the_same() -> None:
    assert send(annotated(Final[int]), it=1) == ((), {"it": 1})


def test_what_is_annotated_in_full_is_plain_msgpack() -> None:
    def function(a: set[int], b: Tag) -> None: ...

    args, kwargs = CallCodec(function).encode_call(({1},), {"b": Tag("x")})

    assert msgspec.msgpack.decode(args[1:]) == [[1]]
    assert msgspec.msgpack.decode(kwargs[1:]) == {"b": {"name": "x", "colour": "red"}}
