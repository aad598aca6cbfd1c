"""What an operator does to workers: stops them, in every way."""

from __future__ import annotations

import signal
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from taskq.broker.commands import working
from tests.chaos import app as tasks
from tests.chaos.checker import Complaint, Findings
from tests.chaos.ledger import Entry
from tests.chaos.scenario import Scenario
from tests.chaos.sending import send_many
from tests.chaos.stage import Host, Stage

GRACE_S = 2.0
SOON_S = 1.0


@dataclass
class Stop:
    """One host that was told to end, and what the server had as held by it from then on."""

    way: str
    host: Host
    pids: set[int]
    processes: Collection[str]
    told: float = 0.0
    ended: float = 0.0
    code: int = 0
    held: list[tuple[float, set[str]]] = field(default_factory=list[tuple[float, set[str]]])

    def last_held(self, ids: Collection[str]) -> float:
        """When it last held any of these."""
        return max((at for at, held in self.held if not held.isdisjoint(ids)), default=self.told)

    def unstarted(self, starts: Sequence[Entry]) -> set[str]:
        """What it held when it was told, and never started."""
        return self.held[0][1] - {entry.id for entry in starts if entry.pid in self.pids}


class Stopped(Scenario):
    """T27: hosts are told to end by SIGTERM, by two of them, by SIGINT, and by SIGTERM while the server is away.

    Each ends within its grace and a second; at the second signal, within a second. What they have not started is
    others' within a second, and so is what they ran, once they have ended. Nobody is charged a failure or a crash. What
    is still running at the end of the grace runs again; that may begin before the process has ended.
    """

    id = "T27"
    fault = "SIGTERM, twice, SIGINT, and SIGTERM while the server restarts"
    seconds = 8.0
    control = "release_by_timeout"
    shows = ("slow",)

    def play(self, stage: Stage) -> None:
        stage.host()
        stage.start_hosts(4, "--grace", f"{GRACE_S:g}s", processes=1)
        _, *victims = stage.hosts
        self.stops = [
            self.prepare(stage, way, host)
            for way, host in zip(("term", "twice", "int", "away"), victims, strict=True)
        ]
        self.load(stage)
        self.look(stage, self.stops[:3])
        for stop in self.stops[:3]:
            self.tell(stop, signal.SIGINT if stop.way == "int" else signal.SIGTERM)
        time.sleep(0.1)
        self.stops[1].host.send(signal.SIGTERM)
        self.follow(stage, self.stops[:3])
        self.load(stage)
        self.look(stage, self.stops[3:])
        with stage.server_away():
            time.sleep(0.3)
            self.tell(self.stops[3], signal.SIGTERM)
            time.sleep(0.7)
        self.follow(stage, self.stops[3:])
        time.sleep(stage.seconds / 8)

    @staticmethod
    def load(stage: Stage) -> None:
        """Have work for all: short tasks that they fetch ahead, and longer ones than the grace."""
        before = stage.watcher.starts
        for _ in range(12):
            stage.enqueue("work", stage.rng.randrange(100, 5_000))
        with stage.sending():
            send_many(tasks.awork, [(5,)] * 2_400)
        stage.wait_starts(before + 150)

    @staticmethod
    def prepare(stage: Stage, way: str, host: Host) -> Stop:
        pids = set(host.children())
        names = [name for name, pid in stage.processes().items() if pid in pids]
        stage.forget(host)
        return Stop(way, host, pids, names)

    @staticmethod
    def tell(stop: Stop, number: signal.Signals) -> None:
        stop.told = time.monotonic()
        stop.host.send(number)

    @classmethod
    def follow(cls, stage: Stage, stops: Sequence[Stop]) -> None:
        """Look at what they hold until they have ended and hold nothing."""
        end = time.monotonic() + GRACE_S + 10
        while time.monotonic() < end and any(not stop.ended or stop.held[-1][1] for stop in stops):
            cls.look(stage, stops)
            for stop in stops:
                if not stop.ended and not stop.host.running():
                    stop.ended, stop.code = time.monotonic(), stop.host.wait()
            time.sleep(0.02)

    @staticmethod
    def look(stage: Stage, stops: Sequence[Stop]) -> None:
        """Note what the server has as held by each."""
        for stop in stops:
            holds = [stage.broker.call(working.holds(stage.keys, name)) for name in stop.processes]
            stop.held.append((time.monotonic(), {id for some in holds for id in some}))

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        starts = [entry for entry in stage.entries() if entry.event == "start"]
        self.exits = {stop.way: stop.ended - stop.told if stop.ended else 99.0 for stop in self.stops}
        unstarted = {stop.way: stop.unstarted(starts) for stop in self.stops}
        self.frees = {stop.way: stop.last_held(unstarted[stop.way]) - stop.told for stop in self.stops}
        self.freed = sum(map(len, unstarted.values()))
        for stop in self.stops:
            way, rest = stop.way, stop.last_held(stop.held[0][1]) - stop.ended
            within = SOON_S if way == "twice" else GRACE_S + SOON_S
            if self.exits[way] > within or stop.code:
                yield Complaint("exit", f"{way}: ended with {stop.code} after {self.exits[way]:.1f} s")
            if self.frees[way] > (within if way == "away" else SOON_S):
                yield Complaint(
                    "slow", f"{way}: what it had not started was others' after {self.frees[way]:.1f} s"
                )
            if rest > SOON_S:
                yield Complaint("slow", f"{way}: what it ran was others' {rest:.1f} s after it had ended")
        if charged := [entry.id for entry in starts if entry.attempt > 1]:
            yield Complaint("charged", f"{len(charged)} tasks were charged, as {charged[0]}")
        if not self.freed or not all(stop.held[0][1] for stop in self.stops):
            yield Complaint("idle", "they held nothing, or nothing that had not started: it shows nothing")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {way: f"{self.exits[way]:.1f}s" for way in self.exits} | {
            "freed": str(self.freed),
            "freed_max": f"{max(self.frees.values()):.2f}s",
        }
