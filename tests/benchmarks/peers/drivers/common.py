"""What all drivers share: how they are told what to do, and how tasks tell that they ran.

Runs in the environments of the others, so that it needs the standard library alone.

A task writes eight bytes, when it starts, to a file that all processes append to. That is one system call, a
microsecond, the same for all, and tells how many have run and when: CLOCK_MONOTONIC is one clock for the machine.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import random
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

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

Args = tuple[int, ...]
One = Callable[[str, Args], object]
Many = Callable[[str, Sequence[Args]], object]

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


def serve(one: One, many: Many | None = None) -> None:
    """Enqueue as standard input says, a line a command; answer a line each.

    Args:
        one: enqueue one call of a task by its name, and come back when it is stored.
        many: enqueue many calls by the best way there is; None where there is none but `one`.
    """
    _answer({"ready": True})
    for line in sys.stdin:
        told = json.loads(line)
        if told["do"] == "stamps":
            _answer(_stamps(one, told["count"]))
            continue
        calls = [tuple(args) for args in told["calls"]] if "calls" in told else [()] * told["count"]
        began = time.perf_counter()
        if told["do"] == "many" and many is not None:
            for some in _batches(calls):
                many(told["task"], some)
        else:
            for args in calls:
                one(told["task"], args)
        _answer({"seconds": time.perf_counter() - began})


async def aserve(
    one: Callable[[str, Args], Awaitable[object]],
    many: Callable[[str, Sequence[Args]], Awaitable[object]] | None = None,
) -> None:
    """As `serve`; where there is no way for many at once, as many calls of `one` at once as a batch has."""

    async def together(task: str, calls: Sequence[Args]) -> None:
        await asyncio.gather(*[one(task, args) for args in calls])

    _answer({"ready": True})
    while line := await asyncio.to_thread(sys.stdin.readline):
        told = json.loads(line)
        if told["do"] == "stamps":
            _answer(await _astamps(one, told["count"]))
            continue
        calls = [tuple(args) for args in told["calls"]] if "calls" in told else [()] * told["count"]
        began = time.perf_counter()
        if told["do"] == "many":
            for some in _batches(calls):
                await (many or together)(told["task"], some)
        else:
            for args in calls:
                await one(told["task"], args)
        _answer({"seconds": time.perf_counter() - began})


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


def _batches(calls: Sequence[Args]) -> list[Sequence[Args]]:
    size = int(SETTINGS.get("batch", 1_000))
    return [calls[start : start + size] for start in range(0, len(calls), size)]


def _pause() -> float:
    """Long enough for a worker to have settled, looked again, and blocked; never in step with what polls."""
    return random.uniform(0.005, 0.015)


def _stamps(one: One, count: int) -> dict[str, list[int]]:
    began: list[int] = []
    seen = marks()
    for at in range(count):
        time.sleep(_pause())
        began.append(time.monotonic_ns())
        one("stamped", (at + 1,))
        while marks() <= seen + at:
            time.sleep(0.001)
    return {"began": began}


async def _astamps(one: Callable[[str, Args], Awaitable[object]], count: int) -> dict[str, list[int]]:
    began: list[int] = []
    seen = marks()
    for at in range(count):
        await asyncio.sleep(_pause())
        began.append(time.monotonic_ns())
        await one("stamped", (at + 1,))
        while marks() <= seen + at:  # noqa: ASYNC110 - a file wakes nobody
            await asyncio.sleep(0.001)
    return {"began": began}


def _answer(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)
