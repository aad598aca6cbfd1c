from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.codec.values import encode_value
from taskq.errors import BadMessage
from taskq.inspector.plain import CUT, decode_plain, plain
from taskq.inspector.scan import Budget
from taskq.inspector.server_checks import longest_pause_ms, slots_on_the_move
from taskq.names import is_id, is_name

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers(), inner)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers())
    ),
)


@given(ANYTHING)
def test_any_value_is_shown_as_json(value: Any) -> None:
    assert json.loads(json.dumps(plain(value), allow_nan=False)) == plain(value)


@given(st.binary())
def test_any_bytes_are_shown_or_refused(data: bytes) -> None:
    try:
        json.dumps(decode_plain(data), allow_nan=False)
    except BadMessage:
        assert data[:1] != encode_value(None)[:1] or not _is_msgpack(data[1:])


def _is_msgpack(data: bytes) -> bool:
    try:
        msgspec.msgpack.decode(data)
    except (ValueError, RecursionError):
        return False
    return b"\xd4" not in data and b"\xc7" not in data  # an Ext may still be no code of ours


def test_what_json_lacks_is_shown_as_text_or_number() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    values = (
        moment,
        timedelta(seconds=90),
        Decimal("1.50"),
        UUID(int=1),
        b"\xff",
        {3},
        float("inf"),
        1 << 70,
    )

    assert plain(values) == [
        "2026-01-02T00:00:00+00:00",
        90.0,
        "1.50",
        "00000000-0000-0000-0000-000000000001",
        "b'\\xff'",
        [3],
        "inf",
        1 << 70,
    ]


def test_what_is_huge_or_deep_is_cut() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]

    assert len(plain(list(range(1_000_000)))) < 10_100
    assert CUT in json.dumps(plain(deep), ensure_ascii=False)
    assert plain(1 << 100_000) == "<int of 100001 bits>"
    assert len(plain(b"x" * 1_000_000)) < 3_000


def test_a_budget_ends_after_so_many_looks() -> None:
    budget = Budget(looks=10)
    budget.saw(9, 0)
    assert (budget.spent, budget.page) == (False, 1)

    budget.saw(1, 0)
    assert (budget.spent, budget.late) == (True, False)


def test_a_budget_ends_after_its_time() -> None:
    budget = Budget(seconds=0.0)

    assert budget.late
    assert budget.spent


def test_pages_shrink_for_large_messages_and_grow_for_small_ones() -> None:
    large, small = Budget(), Budget()
    for _ in range(5):
        large.saw(10, 10 << 20)
        small.saw(10, 1_000)

    assert large.page <= 4
    assert small.page == 500


def test_a_budget_is_shared_in_equal_parts() -> None:
    budget = Budget(looks=100, seconds=10)
    budget.saw(40, 0)
    part = budget.share(3)
    part.saw(20, 0)

    assert part.spent
    assert not budget.spent


@pytest.mark.parametrize("value", ["", "a b", "a|b", "\x1b[31m", "x" * 201, "é", "{a}"])
def test_what_can_be_no_id_is_none(value: str) -> None:
    assert not is_id(value)
    assert not is_name(value)


def test_slots_on_the_move_are_those_of_the_node_that_answers() -> None:
    nodes = (
        "07c3 127.0.0.1:30001@31001 myself,master - 0 0 1 connected 0-5460 [93->-292f] [77-<-e7d1]\n"
        "292f 127.0.0.1:30002@31002 master - 0 0 2 connected 5461-16383 [12->-07c3]\n"
    )

    assert slots_on_the_move(nodes) == ["93", "77"]
    assert slots_on_the_move(nodes.replace("[93->-292f] [77-<-e7d1]", "")) == []


def test_a_pause_of_this_machine_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 0.001, 0.002, 0.052, 0.053, 1.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))

    assert longest_pause_ms(0.053) == pytest.approx(50)
