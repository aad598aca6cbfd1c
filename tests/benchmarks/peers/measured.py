"""What a run has measured, as it is kept in `measured.json`, and what that comes to beside what is asked."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.benchmarks.peers.killing import Outcome
from tests.benchmarks.peers.settings import ALL, OTHERS
from tests.benchmarks.rows import Row, at_least, at_most

KEPT = Path(__file__).parent / "measured.json"

DRAIN_OVER = 10
CPU_UNDER = 15
BULK_OVER = 5


class Circumstances(msgspec.Struct, frozen=True):
    """When and where.

    `share` is that of the counts in the settings. A load is the number of processes that wanted a processor in
    the minute before the run, and at the most.
    """

    date: str
    python: str
    server: str
    cores: int
    rounds: int
    share: float
    load_before: float
    load_most: float
    seconds: float


class Measured(msgspec.Struct, frozen=True):
    """A whole run.

    Args:
        circumstances: when and where.
        rounds: by queue, the figures of each round.
        beside: by queue, what taskq had in each round by turns with it.
        killing: by queue, what came of killing its worker.
    """

    circumstances: Circumstances
    rounds: dict[str, list[dict[str, float]]]
    beside: dict[str, list[dict[str, float]]]
    killing: dict[str, Outcome]

    def median(self, peer: str, figure: str) -> float:
        return statistics.median(one[figure] for one in self.rounds[peer])

    def ours(self, peer: str, figure: str) -> float:
        """What taskq had, as near in time to that queue as it was measured."""
        return statistics.median(ours for ours, _ in self._pairs(peer, figure))

    def ratio(self, peer: str, figure: str) -> float:
        """How many times that queue's figure ours is: each round has its ratio, and this is their median."""
        return statistics.median(ours / theirs for ours, theirs in self._pairs(peer, figure))

    def _pairs(self, peer: str, figure: str) -> list[tuple[float, float]]:
        rounds = zip(self.beside[peer], self.rounds[peer], strict=True)
        return [(ours[figure], theirs[figure]) for ours, theirs in rounds]

    def late(self, peer: str) -> bool:
        """Whether the queue acknowledges after the run, as the killing has shown."""
        return self.killing[peer].late


def load(path: Path = KEPT) -> Measured:
    return msgspec.json.decode(path.read_bytes(), type=Measured)


def save(measured: Measured, path: Path = KEPT) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(measured, order="sorted"), indent=1) + b"\n")


def verdicts(measured: Measured) -> list[Row]:
    """What was asked for in comparison, and what the same run gave."""
    others = [peer.name for peer in OTHERS if peer.name in measured.rounds]
    late = [name for name in others if measured.late(name)]

    def nearest(names: Iterable[str], figure: str) -> str:
        return min(names, key=lambda name: measured.ratio(name, figure))

    def note(name: str, figure: str, unit: str) -> str:
        ours, theirs = measured.ours(name, figure), measured.median(name, figure)
        return f"{number(ours)}{unit}; {ALL[name].title} {number(theirs)}{unit}"

    rows: list[Row] = []
    if late:
        fastest = nearest(late, "drain")
        cpu = 1 / measured.ratio(fastest, "drain worker µs")
        rows += [
            Row("drain, over the fastest that acknowledges after the run", measured.ratio(fastest, "drain"), "×",
                at_least(DRAIN_OVER), note=note(fastest, "drain", "/s")),
            Row("worker CPU a task, that one's over ours", cpu, "×",
                at_least(CPU_UNDER), note=note(fastest, "drain worker µs", " µs")),
        ]  # fmt: skip
    bulk, single = nearest(others, "bulk"), nearest(others, "single")
    quickest = max(others, key=lambda name: measured.ratio(name, "idle p50 ms"))
    return [
        *rows,
        Row("enqueue in bulk, over the fastest", measured.ratio(bulk, "bulk"), "×",
            at_least(BULK_OVER), note=note(bulk, "bulk", "/s")),
        Row("enqueue one by one, over the fastest", measured.ratio(single, "single"), "×",
            at_least(1), note=note(single, "single", "/s")),
        Row("idle: enqueue to start, p50, over the quickest", measured.ratio(quickest, "idle p50 ms"), "×",
            at_most(1), note=note(quickest, "idle p50 ms", " ms")),
    ]  # fmt: skip


def number(value: float) -> str:
    """A figure with three digits that count."""
    if value >= 1_000:
        return f"{round(value, 2 - len(str(int(value))) + 1):,.0f}"
    return f"{value:.3g}"
