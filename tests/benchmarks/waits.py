"""Waits: whether slots stand empty while there is work, by the stamps of the tasks."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from taskq.task import Task
from tests.benchmarks.rows import Row, at_least, at_most
from tests.benchmarks.stand import Bench, Spent, Stand
from tests.benchmarks.tasks import Stamp, arest, compute, rest

SHORT, LONG = 0.001, 0.3


def rows(bench: Bench) -> list[Row]:
    """Many waits at once, utilisation, and no one behind a busy process while another idles."""
    return [_many(bench), *_utilisation(bench), *_idle_beside_work(bench)]


def run(stand: Stand, task: Task[[float], Stamp], seconds: Sequence[float]) -> tuple[Spent, list[Stamp]]:
    """Run one call for each of `seconds`, all there from the beginning; gives the time and the stamps."""
    found: list[str] = []

    def fill() -> None:
        found.extend(one.get().id for one in task.enqueue_many([(each,) for each in seconds]))

    spent = stand.drain_filled(len(seconds), ("default",), fill)
    return spent, stand.results(map(task.handle, found), task.codec)


def _many(bench: Bench) -> Row:
    count = bench.size(2_000, 200)
    with bench.stand() as stand:
        stand.worker(concurrency=100)
        rounds = [run(stand, arest, [0.05] * count)[0].seconds for _ in range(bench.size(5, 1))]
    ideal = count * 0.05 / 100
    note = f"at best {ideal:g} s; worst of {len(rounds)}: {max(rounds):.2f} s"
    name = f"{count:,} async waits of 50 ms at concurrency 100"
    return Row(name, statistics.median(rounds), "s", at_most(1.15 * ideal), note=note)


def _utilisation(bench: Bench) -> list[Row]:
    """The share of their slots' time that tasks ran, between the first start and the last end."""
    found: list[Row] = []
    kinds: tuple[tuple[str, Task[[float], Stamp], int], ...] = (
        ("sync waits, 8 slots", rest, 8),
        ("async waits, 8 slots", arest, 8),
        ("computing, 1 slot", compute, 1),
    )
    for name, task, slots in kinds:
        with bench.stand() as stand:
            stand.worker(concurrency=slots)
            run(stand, task, [0.001] * 50 * slots)
            for ms in (1, 5, 20):
                count = bench.size(3_000, 200) * slots // ms
                _, stamps = run(stand, task, [ms / 1_000] * count)
                found.append(Row(f"utilisation, {name}, {ms} ms", _share(stamps, slots), "", at_least(0.95)))
    return found


def _share(stamps: Sequence[Stamp], slots: int) -> float:
    ran = sum(ended - started for started, ended, _ in stamps)
    whole = max(ended for _, ended, _ in stamps) - min(started for started, _, _ in stamps)
    return ran / (slots * whole)


def _idle_beside_work(bench: Bench) -> list[Row]:
    """Among short tasks one turns out long: what its process has claimed ahead stands behind it."""
    found: list[Row] = []
    for kind, task in (("sync", rest), ("async", arest)):
        worst: list[float] = []
        with bench.stand() as stand:
            worker = stand.worker(processes=2, concurrency=1)
            for _ in range(bench.size(20, 2)):
                run(stand, task, [SHORT] * 200)  # so that the task counts as short again
                _, stamps = run(stand, task, [SHORT] * 10 + [LONG] + [SHORT] * 15)
                worst.append(_longest_idle(stamps, worker.config.processes))
        name = f"{kind}: a process idles while a task waits, at the longest"
        note = f"p50 of {len(worst)}: {statistics.median(worst):.1f} ms"
        found.append(Row(name, max(worst), "ms", at_most(100), note=note))
    return found


def _longest_idle(stamps: Sequence[Stamp], processes: int) -> float:
    """The longest stretch, in ms, that a process of one slot ran nothing before the last task had started."""
    until = max(started for started, _, _ in stamps)
    begin = min(started for started, _, _ in stamps)
    runs: defaultdict[int, list[Stamp]] = defaultdict(list)
    for one in sorted(stamps):
        runs[one[2]].append(one)
    if len(runs) < processes:  # one of them did nothing at all
        return (until - begin) / 1e6
    gaps: list[int] = []
    for mine in runs.values():
        ends = [begin, *(ended for _, ended, _ in mine)]
        starts = [*(started for started, _, _ in mine), until]
        gaps += [min(start, until) - min(end, until) for end, start in zip(ends, starts, strict=True)]
    return max(gaps) / 1e6
