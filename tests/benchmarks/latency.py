"""Latency: from an enqueue to the start of the task, by the clock that the task reads itself."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Sequence
from functools import partial

from taskq import State, TaskHandle, wait
from taskq.task import Task
from tests.benchmarks.pingpong import PingPong
from tests.benchmarks.rows import Row, at_most
from tests.benchmarks.stand import Bench
from tests.benchmarks.tasks import Stamp, arest, astamp, rest, stamp
from tests.support import wait_until

KINDS: tuple[tuple[str, Task[[], Stamp]], ...] = (("sync", stamp), ("async", astamp))


def rows(bench: Bench) -> list[Row]:
    """An idle worker, a burst, a due task, a token in the wrong hands."""
    return [*_idle(bench), *_burst(bench), _due(bench), _full(bench)]


def _idle(bench: Bench) -> list[Row]:
    count = bench.size(1_000, 30)
    starts: dict[str, list[float]] = {kind: [] for kind, _ in KINDS}
    trips: dict[str, list[float]] = {kind: [] for kind, _ in KINDS}
    one_way: list[float] = []
    there_and_back: list[float] = []
    with bench.stand() as stand, PingPong(bench.server.url) as bare:
        stand.worker()
        for at in range(-5, count):
            _pause()
            way, trip = bare.trip()
            for kind, task in KINDS:
                _pause()
                began = time.monotonic_ns()
                started, _, _ = task.enqueue().result(timeout=10)
                ended = time.monotonic_ns()
                if at >= 0:
                    starts[kind].append((started - began) / 1_000)
                    trips[kind].append((ended - began) / 1_000)
            one_way.append(way)
            there_and_back.append(trip)
    way, way_99 = statistics.median(one_way), _p99(one_way)
    trip, trip_99 = statistics.median(there_and_back), _p99(there_and_back)
    found = [
        Row("bare BLPOP, one way, p50", way / 1_000, "ms", note=f"p99 {way_99 / 1_000:.3f} ms"),
        Row("bare BLPOP, there and back, p50", trip / 1_000, "ms", note=f"p99 {trip_99 / 1_000:.3f} ms"),
    ]
    for kind, _ in KINDS:
        p50, p99 = statistics.median(starts[kind]), _p99(starts[kind])
        found += [
            Row(f"idle, {kind}: enqueue to start, p50", p50 / 1_000, "ms", at_most(0.7)),
            Row(f"idle, {kind}: p50 over the bare way", p50 / way, "×", at_most(3)),
            Row(f"idle, {kind}: p99 over the bare round trip's p99", p99 / trip_99, "×", at_most(2),
                note=f"p99 {p99 / 1_000:.3f} ms; {p99 / trip:.1f} × the round trip's p50"),
            Row(f"idle, {kind}: round trip with result, p50", statistics.median(trips[kind]) / 1_000, "ms",
                at_most(1.2)),
        ]  # fmt: skip
    return found


def _pause() -> None:
    """Long enough for the worker to have settled, looked again, and blocked."""
    time.sleep(random.uniform(0.003, 0.006))


def _p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


def _burst(bench: Bench) -> list[Row]:
    """64 tasks of 100 ms for 8 processes of 8 slots."""
    found: list[Row] = []
    with bench.stand() as stand:
        stand.worker(processes=8, concurrency=8)
        for kind, task in (("sync", rest), ("async", arest)):
            lasts: list[float] = []
            for _ in range(bench.size(7, 1)):
                time.sleep(0.1)
                began = time.monotonic_ns()
                handles = [one.get() for one in task.enqueue_many([(0.1,)] * 64)]
                wait(handles, timeout=30)
                starts = [started for started, _, _ in stand.results(handles, task.codec)]
                lasts.append((max(starts) - began) / 1e6)
            name = f"64 {kind} tasks of 100 ms on 8 × 8 slots: last start"
            found.append(
                Row(name, statistics.median(lasts), "ms", at_most(30), note=f"worst {max(lasts):.1f} ms")
            )
    return found


def _due(bench: Bench) -> Row:
    """A task that falls due while all processes block."""
    lates: list[float] = []
    with bench.stand() as stand:
        stand.worker(processes=2)
        for _ in range(bench.size(30, 3)):
            time.sleep(0.05)
            began = time.monotonic_ns()
            started, _, _ = stamp.using(delay=0.3).enqueue().result(timeout=10)
            lates.append((started - began) / 1e6 - 300)
    return Row("due in 300 ms while all block: worst start after it", max(lates), "ms", at_most(20),
               note=f"p50 {statistics.median(lates):.1f} ms")  # fmt: skip


def _runs(handle: TaskHandle[Stamp]) -> bool:
    return handle.status() is State.RUNNING


def _full(bench: Bench) -> Row:
    """The one slot of a process is taken while its BLPOP is out: a timer, not a token, brought its task.

    Whether it or its neighbour is handed the next token is chance, so that the worst of many rounds counts.
    """
    starts: list[float] = []
    with bench.stand() as stand:
        stand.worker(processes=2, concurrency=1)
        for _ in range(bench.size(20, 2)):
            time.sleep(0.05)
            long = rest.using(delay=0.1).enqueue(0.4)
            wait_until(partial(_runs, long), message="the long task to start")
            began = time.monotonic_ns()
            started, _, neighbour = stamp.enqueue().result(timeout=10)
            _, _, full = long.result(timeout=10)
            assert neighbour not in (full, os.getpid()), "the full process ran the second task too"
            starts.append((started - began) / 1e6)
    return Row("a token may go to a full process: worst start at its neighbour", max(starts), "ms", at_most(20),
               note=f"p50 {statistics.median(starts):.1f} ms")  # fmt: skip
