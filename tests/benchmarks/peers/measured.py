"""What a run has measured, as it is kept in `measured.json`, and what that comes to beside what is asked."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from tests.benchmarks.peers.killing import Outcome
from tests.benchmarks.peers.settings import ALL, OTHERS, TASKQ
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
        killing: by queue, what came of killing its worker.
    """

    circumstances: Circumstances
    rounds: dict[str, list[dict[str, float]]]
    killing: dict[str, Outcome]

    def median(self, peer: str, figure: str) -> float:
        return statistics.median(one[figure] for one in self.rounds[peer])

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

    def ours(figure: str) -> float:
        return measured.median(TASKQ.name, figure)

    def all_of(figure: str) -> dict[str, float]:
        return {name: measured.median(name, figure) for name in others}

    late = {name: rate for name, rate in all_of("drain").items() if measured.late(name)}
    fastest = max(late, key=late.__getitem__)
    cpu = measured.median(fastest, "drain worker µs")
    bulk, single, idle = all_of("bulk"), all_of("single"), all_of("idle p50 ms")
    most_bulk, most_single = (max(some, key=some.__getitem__) for some in (bulk, single))
    quickest = min(idle, key=idle.__getitem__)
    return [
        Row("drain, over the fastest that acknowledges after the run", ours("drain") / late[fastest], "×",
            at_least(DRAIN_OVER), note=_note("drain", ours, late, fastest, "/s")),
        Row("worker CPU a task, that one's over ours", cpu / ours("drain worker µs"), "×",
            at_least(CPU_UNDER), note=_note("drain worker µs", ours, {fastest: cpu}, fastest, " µs")),
        Row("enqueue in bulk, over the fastest", ours("bulk") / bulk[most_bulk], "×",
            at_least(BULK_OVER), note=_note("bulk", ours, bulk, most_bulk, "/s")),
        Row("enqueue one by one, over the fastest", ours("single") / single[most_single], "×",
            at_least(1), note=_note("single", ours, single, most_single, "/s")),
        Row("idle: enqueue to start, p50, over the quickest", ours("idle p50 ms") / idle[quickest], "×",
            at_most(1), note=_note("idle p50 ms", ours, idle, quickest, " ms")),
    ]  # fmt: skip


def _note(
    figure: str, ours: Callable[[str], float], theirs: Mapping[str, float], name: str, unit: str
) -> str:
    return f"{number(ours(figure))}{unit}; {ALL[name].title} {number(theirs[name])}{unit}"


def number(value: float) -> str:
    """A figure with three digits that count."""
    if value >= 1_000:
        return f"{round(value, 2 - len(str(int(value))) + 1):,.0f}"
    return f"{value:.3g}"
