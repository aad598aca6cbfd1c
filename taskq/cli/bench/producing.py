"""Enqueues, in one program: one after the other, in batches, many at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from taskq.cli.bench.gauges import Gauges, Reading
from taskq.cli.bench.measured import Enqueues
from taskq.cli.bench.tasks import app
from taskq.task import Task

T = TypeVar("T")
BATCH = 250
CALLERS = 1_000

Call = tuple[Any, ...]
Ids = list[str]


def one_by_one(task: Task[..., Any], call: Call, most: int, seconds: float) -> Ids:
    """Enqueue for that long, or that many, one after the other."""
    until = time.perf_counter() + seconds
    ids: Ids = []
    while len(ids) < most and (not ids or time.perf_counter() < until):
        ids.append(task.enqueue(*call).id)
    return ids


def in_batches(task: Task[..., Any], call: Call, count: int) -> Ids:
    """Enqueue by `enqueue_many`, 250 at once."""
    ids: Ids = []
    calls = [call] * BATCH
    for start in range(0, count, BATCH):
        ids += [sent.get().id for sent in task.enqueue_many(calls[: count - start])]
    return ids


def at_once(task: Task[..., Any], call: Call, count: int) -> Ids:
    """Enqueue by `aenqueue`, 1,000 at once on one loop: uvloop's where it is installed, as in a worker."""

    async def main() -> Ids:
        ids: Ids = []
        for start in range(0, count, CALLERS):
            some = min(CALLERS, count - start)
            ids += [
                handle.id for handle in await asyncio.gather(*[task.aenqueue(*call) for _ in range(some)])
            ]
        await app.aclose()
        return ids

    return run_loop(main())


def run_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def measure(gauges: Gauges, work: Callable[[], Sequence[str]]) -> tuple[Enqueues, Ids, Reading, Reading]:
    """Let `work` enqueue; gives the figures, the ids, and what the gauges said before and after."""
    before = gauges.read()
    began = time.perf_counter()
    ids = list(work())
    seconds = time.perf_counter() - began
    after = gauges.read()
    redis_s = after.redis_cpu_s - before.redis_cpu_s
    found = Enqueues(
        tasks=len(ids),
        per_s=len(ids) / seconds,
        program_core_share=(after.own_cpu_s - before.own_cpu_s) / seconds,
        redis_thread_share=redis_s / seconds,
        redis_cpu_us_per_task=redis_s * 1e6 / len(ids),
    )
    return found, ids, before, after
