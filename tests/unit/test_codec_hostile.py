"""Bytes that nobody of ours wrote: refused, and nothing else happens."""

from __future__ import annotations

import sys
import time
import tracemalloc
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.msgpack import Ext
from pydantic import BaseModel

from taskq.codec import CallCodec, decode_value, encode_value
from taskq.errors import ArgumentMismatch, BadMessage, TaskqError


@dataclass(frozen=True)
class Leaf:
    name: str
    when: datetime | None = None


class Tree(msgspec.Struct):
    leaf: Leaf
    below: list[Tree] = []


class Model(BaseModel):
    tree: dict[str, int]


def typed(
    a: int, b: dict[tuple[int, str], set[Leaf]], *rest: Tree, c: Model | None = None, **more: Decimal
) -> Tree:
    raise NotImplementedError


def loose(a: Any, b: Any = 1, *rest: Any, **more: Any) -> Any: ...


CODECS = [CallCodec(typed), CallCodec(loose), CallCodec(None)]


def refused_or_read(data: bytes) -> None:
    """Read `data` in every way there is; whatever is raised besides a refusal goes on to the test."""
    with suppress(BadMessage):
        decode_value(data)
    for codec in CODECS:
        for args, kwargs in [(data, b""), (b"", data), (data, data)]:
            with suppress(BadMessage, ArgumentMismatch):
                codec.decode_call(args, kwargs)
        with suppress(BadMessage, ArgumentMismatch):
            codec.decode_result(data)


hostile_ext = st.recursive(
    st.binary(max_size=12),
    lambda inner: st.lists(st.builds(Ext, st.integers(-3, 14), inner), max_size=4).map(
        msgspec.msgpack.encode
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=60))
@example(b"")
@example(b"\x01")
@example(b"\x02\x80\x04N.")
def test_random_bytes_are_refused(data: bytes) -> None:
    refused_or_read(data)
    refused_or_read(b"\x01" + data)


@settings(max_examples=300, deadline=None)
@given(hostile_ext)
def test_random_ext_codes_are_refused(data: bytes) -> None:
    refused_or_read(b"\x01" + data)


SAMPLE = [
    1 << 80,
    {(1, "x"): {Leaf("a")}, frozenset({2}): (3, [4])},
    datetime(2024, 1, 2),  # noqa: DTZ001 - naive on purpose
    date(2024, 1, 2),
    timedelta(1),
    Decimal("1.5"),
    UUID(int=7),
]
GOOD = [
    encode_value(SAMPLE),
    encode_value({"a": 1, "b": SAMPLE, "c": {"tree": {"x": 1}}}),
    CODECS[0].encode_call((1, {(1, "x"): {Leaf("a")}}, Tree(Leaf("b"), [Tree(Leaf("c"))])), {})[0],
    CODECS[0].encode_call((1, {}), {"c": Model(tree={"x": 1}), "d": Decimal(1)})[1],
]


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_good_bytes_with_a_few_of_them_changed_are_read_or_refused(data: st.DataObject) -> None:
    message = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(1, 3))):
        message[data.draw(st.integers(1, len(message) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(2, len(message)))

    refused_or_read(bytes(message[:cut]))


def ext(code: int, payload: bytes) -> bytes:
    return b"\x01" + msgspec.msgpack.encode(Ext(code, payload))


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\x81\x90\x01" + b"\x00",  # what follows the value
        b"\x01\x81\x80\x01",  # a dict as a key
        b"\x01\x81\x91\x80\x01",  # a tuple with a dict as a key
        b"\x01\x81\xd4\x03\x90\x01",  # a set as a key
        ext(3, b"\x91\x80"),  # a set of a dict
        ext(4, b"\x91\xd4\x03\x90"),  # a frozenset of a set
        ext(5, b"\x91\x01"),  # a key without a value
        ext(2, b"\x80"),  # a tuple that is a dict
        ext(2, b""),
        ext(6, b"\x94\xaf03:04:05.000006\xc0\xc0\x00"),  # a time as a datetime
        ext(6, msgspec.msgpack.encode(("2024-01-02T00:00:00", 10**15, None, 0))),  # an offset of years
        ext(6, msgspec.msgpack.encode(("2024-01-02T00:00:00", 0, None, 2))),  # no such fold
        ext(6, msgspec.msgpack.encode(("0001-01-01T00:00:00", 3_600_000_000, "America/New_York", 0))),
        ext(7, b"2024-13-01"),
        ext(7, b"\xff"),
        ext(9, b"\x7f" + bytes(20)),  # a duration beyond any timedelta
        ext(10, b"1e"),
        ext(11, bytes(15)),
        ext(12, b""),  # no such code
        ext(-2, b""),
        ext(99, b""),
        b"\x01\xc7\x0c\xff" + b"\xff" * 12,  # a timestamp beyond any datetime
    ],
)
def test_what_is_malformed_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_value(data)
    refused_or_read(data)


@pytest.mark.parametrize(
    "key", ["../../etc/passwd", "/etc/passwd", "a.b", "", "x" * 65, "Europe/Berlin\x00", "é"]
)
def test_a_time_zone_is_found_by_a_plain_key_only(key: str) -> None:
    with pytest.raises(BadMessage):
        decode_value(ext(6, msgspec.msgpack.encode(("2024-01-02T00:00:00", 0, key, 0))))


def test_nothing_is_imported_for_what_bytes_name() -> None:
    def decode(key: str) -> None:
        decode_value(ext(6, msgspec.msgpack.encode(("2024-01-02T00:00:00", 0, key, 0))))

    decode("nowhere")  # loads what the standard library needs to look for a zone
    before = set(sys.modules)
    for key in ("antigravity", "this", "os/path", "tests/unit"):
        decode(key)

    assert {name for name in set(sys.modules) - before if not name.startswith("tzdata")} == set()


def enclosed(code: int, times: int) -> bytes:
    """Nest Ext codes, each the only item of the one around it."""
    data = b"\x90"
    for _ in range(times):
        data = b"\x91" + b"\xc9" + len(data).to_bytes(4, "big") + bytes([code]) + data
    return b"\x01" + data


@pytest.mark.parametrize(
    "data",
    [
        b"\x01" + b"\x91" * 200_000,
        b"\x01" + b"\x81\xa1a" * 100_000,
        b"\x01" + b"\x81" * 100_000,
        enclosed(2, 5_000),
        enclosed(4, 5_000),
        enclosed(5, 5_000),
    ],
    ids=["arrays", "maps", "keys", "tuples", "frozensets", "dicts"],
)
def test_bottomless_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode_value(data)
    refused_or_read(data)


def test_a_tree_too_deep_for_its_annotation_is_refused() -> None:
    tree = b"\x81\xa4leaf\x81\xa4name\xa1x"
    for _ in range(3_000):
        tree = b"\x82\xa4leaf\x81\xa4name\xa1x\xa5below\x91" + tree

    with pytest.raises(TaskqError):
        CODECS[0].decode_result(b"\x01" + tree)


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\xdd\xff\xff\xff\xff",
        b"\x01\xdf\xff\xff\xff\xff",
        b"\x01\xdb\xff\xff\xff\xff",
        b"\x01\xc6\xff\xff\xff\xff",
        b"\x01\xc9\xff\xff\xff\xff\x02",
        ext(2, b"\xdd\xff\xff\xff\xff"),
        ext(3, b"\xdd\xff\xff\xff\xff\x01"),
        b"\x01\x92\x01\xdf\xff\xff\xff\xff",
        ext(10, b"1E+999999999999999999"),
    ],
)
def test_a_few_bytes_allocate_little_and_take_no_time(data: bytes) -> None:
    refused_or_read(data)
    started = time.perf_counter()
    tracemalloc.start()
    try:
        refused_or_read(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 1_000_000
    assert time.perf_counter() - started < 2


def test_numbers_are_bounded() -> None:
    assert decode_value(ext(1, b"\x01" * (1 << 20))).bit_length() == 8 * (1 << 20) - 7
    with pytest.raises(BadMessage):
        decode_value(ext(1, b"\x01" * ((1 << 20) + 1)))
    with pytest.raises(BadMessage):
        decode_value(ext(10, b"1" * ((1 << 20) + 1)))


def test_what_is_said_of_hostile_text_is_short() -> None:
    def function(it: dict[str, datetime]) -> None: ...

    with pytest.raises(ArgumentMismatch) as raised:
        CallCodec(function).decode_call(*CODECS[2].encode_call(({"x" * 10_000: "y" * 10_000},), {}))

    assert len(str(raised.value)) < 700
