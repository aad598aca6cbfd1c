"""Runs with processes of their own: what one costs beside the fork that it consists of."""

from __future__ import annotations

import os
import statistics
import time

from tests.benchmarks.rows import Row, at_most
from tests.benchmarks.stand import Bench
from tests.benchmarks.tasks import app


@app.task(isolate="process")
def alone() -> None:
    """Do nothing, in a process of its own."""


@app.task
def fork_often(count: int) -> list[float]:
    """Fork this process, which has imported the same, and wait for it; gives the seconds that each took."""
    took: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        took.append(time.perf_counter() - began)
    return took


def rows(bench: Bench) -> list[Row]:
    """One after the other, and in eight slots."""
    count = bench.size(300, 20)
    with bench.stand() as stand:
        stand.worker(app="tests.benchmarks.isolated:app", concurrency=1)
        stand.drain(alone, 10)
        forks: list[float] = []
        rates: list[float] = []
        for _ in range(bench.size(3, 1)):  # by turns: others use the machine, too
            forks += fork_often.enqueue(count // 3).result(timeout=60)
            rates.append(stand.drain(alone, count // 3).rate)
    fork_ms, run_ms = 1e3 * statistics.median(forks), 1e3 / statistics.median(rates)
    with bench.stand() as stand:
        stand.worker(app="tests.benchmarks.isolated:app", concurrency=8)
        stand.drain(alone, 10)
        rate = stand.drain(alone, count).rate
    return [
        Row("a fork of the worker process that does nothing", fork_ms, "ms"),
        Row("an isolated run, one after the other", run_ms, "ms"),
        Row("an isolated run beside that fork", run_ms / fork_ms, "x", at_most(4)),
        Row("isolated runs, 8 slots", rate, "1/s"),
    ]
