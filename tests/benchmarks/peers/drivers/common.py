"""What all drivers share: how they are told what to do, and how tasks tell that they ran.

Runs in the environments of the others, so that it needs the standard library alone.

A task writes eight bytes, when it starts, to a file that all processes append to. That is one system call, a
microsecond, the same for all, and tells how many have run and when: CLOCK_MONOTONIC is one clock for the machine.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import math
import os
import random
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

URL = os.environ.get("PEER_URL", "redis://127.0.0.1:6379/0")
RESULTS = os.environ.get("PEER_RESULTS", "1") == "1"
"""Whether what tasks return is to be stored."""

SETTINGS: dict[str, Any] = json.loads(os.environ.get("PEER_SETTINGS", "{}"))
PACE_S = 0.05
"""How long a numbered task takes. It marks its start by its number below zero, its end by its number."""

REST_S = 0.05
"""How long a task waits that does nothing but wait."""

CLOCK_BITS = 55
"""A mark has the clock in these bits, which is enough for a year, and above them a number, 0 where nobody asks."""

ONE_CALL = 1
"""What tasks return: queues that store no None have something to store."""

NAMES = ("empty", "rest", "stamped", "numbered")
"""The tasks: in a thread or a process by these names, for a loop with an `a` before them."""

T = TypeVar("T")
Args = tuple[int, ...]
One = Callable[[str, Args], T]
Many = Callable[[str, Sequence[Args]], T]

_MARKS = os.environ.get("PEER_MARKS", os.devnull)
_marks = os.open(_MARKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def mark(value: int | None = None) -> None:
    """Write down that a task runs: when, or which."""
    os.write(_marks, struct.pack("<q", time.monotonic_ns() if value is None else value))


def instant(value: int) -> tuple[int, int]:
    """Give the number and the nanoseconds of a mark that has both."""
    return value >> CLOCK_BITS, value & ((1 << CLOCK_BITS) - 1)


def marks() -> int:
    """How many marks there are."""
    return os.fstat(_marks).st_size // 8


def empty() -> int:
    mark()
    return ONE_CALL


def rest() -> int:
    mark()
    time.sleep(REST_S)
    return ONE_CALL


def stamped(number: int) -> int:
    mark(number << CLOCK_BITS | time.monotonic_ns())
    return ONE_CALL


def numbered(number: int) -> int:
    mark(-number)
    time.sleep(PACE_S)
    mark(number)
    return ONE_CALL


async def aempty() -> int:
    mark()
    return ONE_CALL


async def arest() -> int:
    mark()
    await asyncio.sleep(REST_S)
    return ONE_CALL


async def astamped(number: int) -> int:
    mark(number << CLOCK_BITS | time.monotonic_ns())
    return ONE_CALL


async def anumbered(number: int) -> int:
    mark(-number)
    await asyncio.sleep(PACE_S)
    mark(number)
    return ONE_CALL


def setting(name: str) -> Any:
    """A setting as tests/benchmarks/peers/settings.py has it."""
    return SETTINGS[name]


def serve(one: One[object], many: Many[object] | None = None) -> None:
    """Enqueue as standard input says, a line a command; answer a line each.

    Args:
        one: enqueue one call of a task by its name, and come back when it is stored.
        many: enqueue many calls by the best way there is; None where there is none but `one`.
    """

    def in_turn(task: str, calls: Sequence[Args]) -> None:
        for args in calls:
            one(task, args)

    _answer({"ready": True})
    for line in sys.stdin:
        for _ in _obeyed(json.loads(line), one, many or in_turn):
            pass


async def aserve(one: One[Awaitable[object]], many: Many[Awaitable[object]] | None = None) -> None:
    """As `serve`; where there is no way for many at once, as many calls of `one` at once as a batch has."""

    async def together(task: str, calls: Sequence[Args]) -> None:
        await asyncio.gather(*[one(task, args) for args in calls])

    _answer({"ready": True})
    while line := await asyncio.to_thread(sys.stdin.readline):
        for stored in _obeyed(json.loads(line), one, many or together):
            await stored


def run(main: Awaitable[object]) -> None:
    """Run on uvloop where the environment has it, as the workers do."""
    assert inspect.iscoroutine(main)
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main)


def _obeyed(told: dict[str, Any], one: One[T], many: Many[T]) -> Iterator[T]:
    """Do what is told, and answer; gives what each call gave, to be awaited where it is awaitable."""
    if told["do"] == "stamps":
        return _stamps(one, told["count"])
    return _enqueued(told, one, many)


def _enqueued(told: dict[str, Any], one: One[T], many: Many[T]) -> Iterator[T]:
    """Enqueue the calls that are given, or so many without arguments, or without arguments for so long."""
    calls: Iterator[Args]
    if "calls" in told:
        calls = iter([tuple(args) for args in told["calls"]])
    else:
        calls = itertools.repeat((), told["count"]) if "count" in told else itertools.repeat(())
    task, size = told["task"], int(SETTINGS.get("batch", 1_000)) if told["do"] == "many" else 1
    stored = 0
    began = now = time.perf_counter()
    until = began + told.get("seconds", math.inf)
    while now < until and (some := tuple(itertools.islice(calls, size))):
        yield many(task, some) if told["do"] == "many" else one(task, some[0])
        stored += len(some)
        now = time.perf_counter()
    _answer({"count": stored, "seconds": now - began})


def _stamps(one: One[T], count: int) -> Iterator[T]:
    """Enqueue so many, each when the one before has started and its worker waits again; tells when each began."""
    began: list[int] = []
    seen = marks()
    for at in range(count):
        # Long enough for a worker to have settled, looked again, and blocked; never in step with what polls.
        time.sleep(random.uniform(0.005, 0.015))
        began.append(time.monotonic_ns())
        yield one("stamped", (at + 1,))
        while marks() <= seen + at:
            time.sleep(0.001)
    _answer({"began": began})


def _answer(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)
