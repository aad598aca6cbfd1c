"""What is measured of one queue in one round: figures by name.

Times are in seconds but for those named ms, CPU is in µs, memory in bytes, all else a second.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers.drivers.common import instant
from tests.benchmarks.peers.settings import Peer, Phase
from tests.benchmarks.peers.stage import START_S, Gauges, Stage, private_server
from tests.servers import RedisServer
from tests.support import wait_until

DRAIN_S = 180
"""How long a drain may take before the queue counts as one that does not run."""

FROM, UP_TO = 0.1, 0.95
"""The share of a drain that counts: neither its start, with imports and first connections, nor its end."""

WARM_UP = 20
"""Enqueued before what is timed, each way: connections are made, scripts are loaded."""

TURNS = 5
"""Two queues that are compared by turns have so many each."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: `share` of the tasks in the settings, `seconds` a way to enqueue, `stamps` idle starts."""

    share: float
    seconds: float
    stamps: int

    def of(self, count: int) -> int:
        return max(20, round(count * self.share))


QUICK = Size(0.1, 0.2, 20)


def full(share: float) -> Size:
    """A run that counts; on a busy machine, of a share of the tasks."""
    return Size(share, 1.0, 100)


def by_turns(one: Peer, other: Peer, folder: Path, size: Size) -> tuple[Figures, Figures]:
    """Have two queues enqueue, and then start what comes to an idle worker, in short turns; then each drains.

    Round trips take twice as long from one second to the next where a system moves processes between processors:
    what is to be compared has to be close in time.

    Raises:
        Failed: one of them does not run.
    """
    with private_server(folder / "one") as first, private_server(folder / "other") as second:

        @contextlib.contextmanager
        def stages(name: str) -> Generator[tuple[Stage, Stage]]:
            with (
                Stage(one, first, folder / f"{name}-1") as left,
                Stage(other, second, folder / f"{name}-2") as right,
            ):
                yield left, right

        with stages("enqueue") as both:
            enqueued = _enqueue(both, size.seconds)
        for server in (first, second):
            server.call("FLUSHALL")
        with stages("idle") as both:
            started = _idle(both, size.stamps)
        drained = [
            _kept(one, first, folder / "drain-1", size),
            _kept(other, second, folder / "drain-2", size),
        ]
    left, right = (some | more | most for some, more, most in zip(enqueued, started, drained, strict=True))
    return left, right


def _kept(peer: Peer, server: RedisServer, folder: Path, size: Size) -> Figures:
    """Drain by one process, which keeps results."""
    server.call("FLUSHALL")
    with Stage(peer, server, folder) as stage:
        found = _drain(stage, "drain", "empty", size.of(peer.count))
        stage.settle()
        return {**found, "worker bytes": stage.memory()}


def drains(peer: Peer, folder: Path, size: Size) -> Figures:
    """Drain without results, by two processes, and tasks that wait.

    Raises:
        Failed: it does not run.
    """
    with private_server(folder / "server") as server:

        def stage(name: str, phase: Phase = "always", processes: int = 1, *, results: bool = True) -> Stage:
            server.call("FLUSHALL")
            return Stage(peer, server, folder / name, phase=phase, processes=processes, results=results)

        count, waits = size.of(peer.count), size.of(peer.waits)
        with stage("no-results", results=False) as one:
            found = _drain(one, "without results", "empty", count)
        with stage("two", processes=2) as one:
            found |= _drain(one, "two processes", "empty", count)
        with stage("waits", "waits") as one:
            return found | _drain(one, "waits", "rest", waits)


def _enqueue(stages: Sequence[Stage], seconds: float) -> list[Figures]:
    """One after the other, then in bulk; the server's memory grows by what a queued task takes."""
    for stage in stages:
        stage.ask("one", task="empty", count=WARM_UP)
        stage.ask("many", task="empty", count=WARM_UP)
    before = [stage.used_memory() for stage in stages]
    counts = dict.fromkeys(stages, 0)
    found: list[Figures] = [{} for _ in stages]
    for name, do in (("single", "one"), ("bulk", "many")):
        for stage, figures, (count, spent) in zip(stages, found, _turns(stages, do, seconds), strict=True):
            figures[name] = count / spent
            counts[stage] += count
    for stage, figures, memory in zip(stages, found, before, strict=True):
        figures["queued bytes"] = (stage.used_memory() - memory) / counts[stage]
    return found


def _turns(stages: Sequence[Stage], do: str, seconds: float) -> list[tuple[int, float]]:
    """Have each enqueue for that long altogether; gives how many each has stored, in how many seconds."""
    answers = [
        [stage.ask(do, task="empty", seconds=seconds / TURNS) for stage in stages] for _ in range(TURNS)
    ]
    return [
        (sum(answer["count"] for answer in ours), sum(answer["seconds"] for answer in ours))
        for ours in zip(*answers, strict=True)
    ]


def _idle(stages: Sequence[Stage], count: int) -> list[Figures]:
    """From just before an enqueue to the start of the task, while the worker has nothing else to do."""
    for stage in stages:
        stage.start()
    for stage in stages:
        stage.ask("stamps", count=WARM_UP)
    lags: list[list[float]] = [[] for _ in stages]
    for _ in range(TURNS):
        for stage, some in zip(stages, lags, strict=True):
            some += _stamped(stage, count // TURNS)
    return [
        {
            "idle p50 ms": statistics.median(some),
            "idle p99 ms": statistics.quantiles(some, n=100, method="inclusive")[98],
        }
        for some in lags
    ]


def _stamped(stage: Stage, count: int) -> list[float]:
    seen = stage.ran()
    began = stage.ask("stamps", count=count)["began"]

    def all_there() -> bool:
        return set(range(1, count + 1)) <= {instant(value)[0] for value in stage.marks()[seen:]}

    wait_until(all_there, START_S, "each of the tasks to start")
    return lags_ms(began, stage.marks()[seen:])


def lags_ms(began: Sequence[int], marks: Sequence[int]) -> list[float]:
    """How long each enqueue took to become a start, by the number of the task: a queue may run one twice."""
    starts: dict[int, int] = {}
    for value in marks:
        number, at = instant(value)
        starts.setdefault(number, at)
    return [(starts[number] - begin) / 1e6 for number, begin in enumerate(began, 1)]


def _drain(stage: Stage, name: str, task: str, count: int) -> Figures:
    """Start the worker on `count` tasks; the figures are of what lies between two moments well inside the drain."""
    stage.ask("many", task=task, count=count)
    stage.start()
    stage.wait(max(1, round(count * FROM)), START_S)
    begin = stage.gauges()
    stage.wait(round(count * UP_TO), DRAIN_S)
    found = rates(name, stage.gauges().since(begin))
    stage.wait(count, DRAIN_S)
    return found


def rates(name: str, spent: Gauges) -> Figures:
    """What a stretch of a drain comes to."""
    return {
        name: spent.ran / spent.at,
        f"{name} worker µs": spent.worker_s * 1e6 / spent.ran,
        f"{name} redis µs": spent.redis_s * 1e6 / spent.ran,
        f"{name} commands": spent.commands / spent.ran,
    }
