"""Drain: how fast worker processes empty a queue of empty tasks, results stored, beside the ceiling.

The queue is paused while it fills; from its release on, the workers have it all. Each round runs the ceiling and
each kind of worker in turn on the same server; figures are medians over the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable

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
    count, rounds = bench.size(100_000, 5_000), bench.size(3, 1)
    ceilings: list[float] = []
    found: dict[tuple[str, int], list[Spent]] = {(kind, n): [] for kind, _, _ in KINDS for n in WORDS}
    with bench.stand() as alone, bench.stand() as together:
        stands = {1: alone, 2: together}
        for processes, stand in stands.items():
            stand.worker(processes=processes)
        for _ in range(rounds):
            ceilings.append(top(bench, count))
            for kind, task, _ in KINDS:
                for processes, stand in stands.items():
                    found[kind, processes].append(stand.drain(task, count))
    highest = statistics.median(ceilings)
    invalid = "" if highest >= LEAST_CEILING else f"the ceiling is below {LEAST_CEILING:,}/s"
    result = [Row("ceiling", highest, "/s", note="the bare loop, one process", invalid=invalid)]
    for kind, _, least in KINDS:
        one, two = found[kind, 1], found[kind, 2]
        ratios = [spent.rate / most for spent, most in zip(one, ceilings, strict=True)]
        gains = [more.rate / less.rate for more, less in zip(two, one, strict=True)]
        name = f"{kind}, {WORDS[1]}"
        result += [
            Row(name, rate(one), "/s", at_least(least), invalid=invalid),
            Row(f"{name}: of the ceiling", statistics.median(ratios), "", at_least(0.55), invalid=invalid),
            Row(
                f"{name}: worker CPU a task",
                median(s.cpu_each for s in one),
                "µs",
                at_most(12),
                invalid=invalid,
            ),
            Row(
                f"{name}: Redis time a task",
                median(s.redis_each for s in one),
                "µs",
                at_most(12),
                invalid=invalid,
            ),
            Row(f"{kind}, {WORDS[2]}", rate(two), "/s", invalid=invalid),
            Row(f"{kind}, {WORDS[2]}: over one", statistics.median(gains), "×", at_least(1), invalid=invalid),
            Row(
                f"{kind}, {WORDS[2]}: worker CPU a task",
                median(s.cpu_each for s in two),
                "µs",
                invalid=invalid,
            ),
        ]
    return result


def top(bench: Bench, count: int) -> float:
    """Run the ceiling over `count` tasks; gives tasks a second."""
    with bench.stand() as stand:
        stand.fill(empty, count)
        return count / ceiling.drain(stand.server.url, stand.keys, count, lambda: None)


def rate(found: Iterable[Spent]) -> float:
    return median(spent.rate for spent in found)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)
