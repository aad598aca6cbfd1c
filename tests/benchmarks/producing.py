"""Producing: how fast one program enqueues, in one process."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

from taskq.broker.command import Command, same
from taskq.cli.bench.producing import run_loop
from taskq.message import Message, encode_message
from taskq.task import Task
from tests.benchmarks.rows import Row, at_least, at_most
from tests.benchmarks.stand import Bench, Stand
from tests.benchmarks.tasks import empty, send

BATCH = 250
CALLERS = 1_000
ARGUMENTS = ("a@b.c", 3, "hello")


def rows(bench: Bench) -> list[Row]:
    """Many in batches, many at once, one after the other."""
    rounds = bench.size(5, 1)
    with bench.stand() as stand:
        batches = bench.size(400, 8)
        bulk = median_rate(rounds, batches * BATCH, lambda: _in_batches(empty, (), batches))
        full = median_rate(rounds, batches * BATCH, lambda: _in_batches(send, ARGUMENTS, batches))
        waves = bench.size(40, 2)
        gathered = run_loop(_in_waves(rounds, waves))
        single, plain = _single(stand, bench.size(4_000, 200))
    return [
        Row(f"enqueue_many, batches of {BATCH}", bulk, "/s", at_least(120_000)),
        Row(f"enqueue_many, batches of {BATCH}, 3 arguments", full, "/s"),
        Row(f"{CALLERS:,} concurrent aenqueue", gathered, "/s", at_least(40_000)),
        Row("enqueue, one after the other", 1e6 / single, "/s"),
        Row("enqueue, over a SET of the same bytes", single / plain, "×", at_most(1.5),
            note=f"{single:.1f} µs against {plain:.1f} µs"),
    ]  # fmt: skip


def median_rate(rounds: int, count: int, work: Callable[[], object]) -> float:
    """Call `work` after a run to warm up; gives the median of what it does a second."""
    work()

    def once() -> float:
        began = time.perf_counter()
        work()
        return count / (time.perf_counter() - began)

    return statistics.median(once() for _ in range(rounds))


def _in_batches(task: Task[..., Any], arguments: tuple[Any, ...], batches: int) -> None:
    calls = [arguments] * BATCH
    for _ in range(batches):
        outcomes = task.enqueue_many(calls)
        assert all(outcome.created for outcome in outcomes)


async def _in_waves(rounds: int, waves: int) -> float:
    async def once() -> float:
        began = time.perf_counter()
        for _ in range(waves):
            await asyncio.gather(*[empty.aenqueue() for _ in range(CALLERS)])
        return waves * CALLERS / (time.perf_counter() - began)

    await once()
    return statistics.median([await once() for _ in range(rounds)])


def _single(stand: Stand, count: int) -> tuple[float, float]:
    """Give the µs of an enqueue and of a SET by the same client over the same connections, in turn: medians."""
    body = encode_message(Message(empty.name, created_ms=stand.broker.now_ms()))
    enqueues: list[int] = []
    sets: list[int] = []
    for at in range(count):
        plain = Command("SET", "", (f"plain:{at:032}", body), same)
        began = time.perf_counter_ns()
        empty.enqueue()
        between = time.perf_counter_ns()
        stand.broker.call(plain)
        enqueues.append(between - began)
        sets.append(time.perf_counter_ns() - between)
    return statistics.median(enqueues) / 1_000, statistics.median(sets) / 1_000
