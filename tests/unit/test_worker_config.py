"""What a worker can be told, and what is refused."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from taskq.errors import ConfigurationError
from taskq.worker.config import WorkerConfig, cpu_count, parse_queues
from taskq.worker.life import beat_s


@pytest.mark.parametrize(
    ("text", "queues", "weights"),
    [
        ("mail", ("mail",), ()),
        ("mail,default", ("mail", "default"), ()),
        (" mail , default ,", ("mail", "default"), ()),
        ("mail=3,default=1", ("mail", "default"), (3, 1)),
        ("a.b-c_d=10", ("a.b-c_d",), (10,)),
    ],
)
def test_queues_come_in_order_or_with_weights(
    text: str, queues: tuple[str, ...], weights: tuple[int, ...]
) -> None:
    assert parse_queues(text) == (queues, weights)


@pytest.mark.parametrize(
    "text",
    [
        "mail=3,default",
        "mail,mail",
        "mail=0",
        "mail=-1",
        "mail=x",
        "mail=1.5",
        "mail=",
        "a b",
        "a|b",
        "{a}",
        "*",
        "é",
    ],
)
def test_queues_that_cannot_be_meant_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_queues(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"processes": 0},
        {"concurrency": 0},
        {"concurrency": 1_001},
        {"max_tasks": -1},
        {"max_memory": -1},
        {"kill_after_ms": -1},
        {"lease_ms": 499},
        {"queues": ("a b",)},
        {"queues": ("a", "b"), "weights": (1,)},
        {"queues": ("a",), "weights": (0,)},
        {"weights": (1,)},
        {"processes": 4, "max_processes": 2},
        {"start_method": "spawn"},
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        WorkerConfig(app="shop:app", **wrong)


def test_children_are_forked_but_on_macos() -> None:
    assert WorkerConfig(app="shop:app").start_method == ("exec" if sys.platform == "darwin" else "fork")


def test_there_is_a_processor() -> None:
    assert cpu_count() >= 1


@pytest.mark.parametrize(("lease_ms", "seconds"), [(30_000, 1.0), (4_000, 1.0), (2_000, 0.5), (500, 0.125)])
def test_a_lease_is_extended_several_times_before_it_ends(lease_ms: int, seconds: float) -> None:
    assert beat_s(lease_ms) == seconds
    assert beat_s(lease_ms) <= lease_ms / 4_000
