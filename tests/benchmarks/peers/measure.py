"""What is measured of one queue in one round: a row of figures by name."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.peers.drivers.common import instant
from tests.benchmarks.peers.settings import Peer, Phase
from tests.benchmarks.peers.stage import START_S, Gauges, Stage, private_server
from tests.support import wait_until

DRAIN_S = 180
"""How long a drain may take before the queue counts as one that does not run."""

FROM, UP_TO = 0.1, 0.95
"""The share of a drain that counts: neither its start, with imports and first connections, nor its end."""

WARM_UP = 20
"""Enqueued before what is timed, each way: connections are made, scripts are loaded."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: `share` of the counts in the settings."""

    share: float
    singles: int
    stamps: int

    def of(self, count: int) -> int:
        return max(20, round(count * self.share))


QUICK = Size(0.1, 100, 20)


def full(share: float) -> Size:
    """A run that counts; on a busy machine, of a share of the tasks."""
    return Size(share, max(200, round(2_000 * share)), 200)


@dataclass(slots=True)
class Figures:
    """Figures of one queue; times in seconds, CPU in µs, memory in bytes, all else a second."""

    values: dict[str, float] = field(default_factory=dict[str, float])

    def drained(self, name: str, spent: Gauges) -> None:
        self.values[name] = spent.ran / spent.at
        self.values[f"{name} worker µs"] = spent.worker_s * 1e6 / spent.ran
        self.values[f"{name} redis µs"] = spent.redis_s * 1e6 / spent.ran
        self.values[f"{name} commands"] = spent.commands / spent.ran


def measure(peer: Peer, folder: Path, size: Size) -> dict[str, float]:
    """Run one round of one queue on a server of its own.

    Raises:
        Failed: it does not run.
    """
    found = Figures()
    server = private_server(folder / "server")
    try:

        def stage(name: str, phase: Phase = "always", processes: int = 1, *, results: bool = True) -> Stage:
            server.call("FLUSHALL")
            return Stage(peer, server, folder / name, phase=phase, processes=processes, results=results)

        with stage("results") as one:
            found.drained("drain", _drain(one, _produce(one, found, size)))
            one.settle()
            _idle(one, found, size)
        with stage("no-results", results=False) as one:
            one.ask("many", task="empty", count=size.of(peer.count))
            found.drained("without results", _drain(one, size.of(peer.count)))
        with stage("two", processes=2) as one:
            one.ask("many", task="empty", count=size.of(peer.count))
            found.drained("two processes", _drain(one, size.of(peer.count)))
        with stage("waits", "waits") as one:
            one.ask("many", task="rest", count=size.of(peer.waits))
            found.drained("waits", _drain(one, size.of(peer.waits)))
    finally:
        server.kill()
    return found.values


def _produce(stage: Stage, found: Figures, size: Size) -> int:
    """One after the other, then in bulk; gives how many there are.

    The server's memory grows by what a queued task takes.
    """
    stage.ask("one", task="empty", count=WARM_UP)
    stage.ask("many", task="empty", count=WARM_UP)
    began = stage.used_memory()
    singles, many = size.singles, size.of(stage.peer.count)
    found.values["single"] = singles / stage.ask("one", task="empty", count=singles)["seconds"]
    found.values["bulk"] = many / stage.ask("many", task="empty", count=many)["seconds"]
    found.values["queued bytes"] = (stage.used_memory() - began) / (singles + many)
    return 2 * WARM_UP + singles + many


def _drain(stage: Stage, count: int) -> Gauges:
    """Start the worker on what is queued; gives what was spent between two moments well inside the drain."""
    stage.start()
    stage.wait(max(1, round(count * FROM)), START_S)
    begin = stage.gauges()
    stage.wait(round(count * UP_TO), DRAIN_S)
    spent = stage.gauges().since(begin)
    stage.wait(count, DRAIN_S)
    return spent


def _idle(stage: Stage, found: Figures, size: Size) -> None:
    """From just before an enqueue to the start of the task, while the worker has nothing else to do."""
    seen = stage.ran()
    began = stage.ask("stamps", count=size.stamps)["began"]

    def all_there() -> bool:
        return set(range(1, len(began) + 1)) <= {instant(value)[0] for value in stage.marks()[seen:]}

    wait_until(all_there, START_S, "each of the tasks to start")
    lags = lags_ms(began, stage.marks()[seen:])
    found.values["idle p50 ms"] = statistics.median(lags)
    found.values["idle p99 ms"] = statistics.quantiles(lags, n=100)[98]
    found.values["worker bytes"] = stage.memory()


def lags_ms(began: Sequence[int], marks: Sequence[int]) -> list[float]:
    """How long each enqueue took to become a start, by the number of the task: a queue may run one twice."""
    starts: dict[int, int] = {}
    for value in marks:
        number, at = instant(value)
        starts.setdefault(number, at)
    return [(starts[number] - begin) / 1e6 for number, begin in enumerate(began, 1)]
