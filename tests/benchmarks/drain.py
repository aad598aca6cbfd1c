"""Drain: how fast worker processes empty a queue of empty tasks, results stored, beside the ceiling.

The queue is paused while it fills; from its release on, the workers have it all. Each round runs the ceiling and
each kind of worker in turn on the same server; figures are medians over the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import replace

from tests.benchmarks import ceiling
from tests.benchmarks.rows import Row, at_least, at_most
from tests.benchmarks.stand import Bench, Spent
from tests.benchmarks.tasks import aempty, empty

LEAST_CEILING = 60_000
"""What the bare loop has to reach a second for the machine to have had time for us."""

KINDS = (("sync", empty, 45_000), ("async", aempty, 40_000))
WORDS = {1: "one process", 2: "two processes"}


def rows(bench: Bench) -> list[Row]:
    """Drain with one and with two processes, sync and async."""
    count, rounds = bench.size(100_000, 5_000), bench.size(5, 1)
    ceilings: dict[str, list[float]] = {kind: [] for kind, _, _ in KINDS}
    found: dict[tuple[str, int], list[Spent]] = {(kind, n): [] for kind, _, _ in KINDS for n in WORDS}
    with bench.stand() as alone, bench.stand() as together:
        stands = {1: alone, 2: together}
        for processes, stand in stands.items():
            stand.worker(processes=processes)
        for _ in range(rounds):
            for kind, task, _ in KINDS:
                ceilings[kind].append(top(bench, count))
                for processes, stand in stands.items():
                    found[kind, processes].append(stand.drain(task, count))
    tops = [one for some in ceilings.values() for one in some]
    result = [Row("ceiling", median(tops), "/s", note="the bare loop, one process")]
    for kind, _, least in KINDS:
        one, two = found[kind, 1], found[kind, 2]
        ratios = [spent.rate / most for spent, most in zip(one, ceilings[kind], strict=True)]
        gains = [more.rate / less.rate for more, less in zip(two, one, strict=True)]
        single, double = f"{kind}, {WORDS[1]}", f"{kind}, {WORDS[2]}"
        result += [
            Row(single, median(spent.rate for spent in one), "/s", at_least(least)),
            Row(f"{single}: of the ceiling", median(ratios), "", at_least(0.55)),
            Row(f"{single}: worker CPU a task", median(spent.cpu_each for spent in one), "µs", at_most(12)),
            Row(f"{single}: Redis time a task", median(spent.redis_each for spent in one), "µs", at_most(12)),
            Row(double, median(spent.rate for spent in two), "/s"),
            Row(f"{double}: over one", median(gains), "×", at_least(1)),
            Row(f"{double}: worker CPU a task", median(spent.cpu_each for spent in two), "µs"),
        ]
    return judged(result, tops)


def judged(rows: Iterable[Row], ceilings: Iterable[float]) -> list[Row]:
    """Mark rows as invalid where the ceilings taken beside them show that the machine had no time for us."""
    highest = median(ceilings)
    enough = highest >= LEAST_CEILING
    return [replace(row, invalid="" if enough else f"the ceiling is {highest:,.0f}/s") for row in rows]


def top(bench: Bench, count: int) -> float:
    """Run the ceiling over `count` tasks; gives tasks a second."""
    with bench.stand() as stand:
        stand.fill(empty, count)
        return count / ceiling.drain(stand.server.url, stand.keys, count, lambda: None)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)
