"""What befalls the way between workers and server: replies get lost, or nothing passes any more."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from tests.chaos.checker import Complaint, Findings, percentile
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.proxy import Fate, at_random

CUT_S = 8.0
"""Longer than the engine waits for a token, so that it has found out by then."""


class ClaimCut(Scenario):
    """T08: of ten claims the reply of one gets lost, with the tasks that it gave.

    The server has them as held by a process that never heard of them, and that beats on. Nobody dies, so no sweeper
    will give them back: the process itself has to ask again.
    """

    id = "T08"
    fault = "connections cut at `claim`, 10 %, after the server had it"
    seconds = 12.0
    control = "forget_lost_claims"
    shows = ("lost",)

    def play(self, stage: Stage) -> None:
        self.proxy = stage.proxy(at_random({"claim": {Fate.LOSE_REPLY: 0.1}}, stage.rng), reset=True)
        stage.steady(url=self.proxy.url)
        time.sleep(stage.seconds)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if self.proxy.lost[Fate.LOSE_REPLY] < 10:
            yield Complaint("idle", f"{self.proxy.lost[Fate.LOSE_REPLY]} replies were lost: it shows nothing")
        if (waited := max(found.waited_s, default=0.0)) > 4.0:
            yield Complaint("slow", f"a task waited for {waited:.1f} s")
        if found.duplicates:
            yield Complaint("repeats", f"{found.duplicates} tasks ran again, though nobody died")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        waited = percentile(found.waited_s, 1.0)
        return {"replies_lost": str(self.proxy.lost[Fate.LOSE_REPLY]), "waited_max": f"{waited:.2f}s"}


class SettleCut(Scenario):
    """T09: of three outcomes the reply of one gets lost, and of ten the command. The process sends them again.

    The server has committed the first kind already. The repeat must change nothing, whoever has the task by then.
    """

    id = "T09"
    fault = "connections cut at `settle`: 30 % after, 10 % before the server had it"
    seconds = 12.0
    control = "settle_again"
    shows = ("double",)

    def play(self, stage: Stage) -> None:
        odds = {"settle": {Fate.LOSE_REPLY: 0.3, Fate.LOSE_COMMAND: 0.1}}
        self.proxy = stage.proxy(at_random(odds, stage.rng), reset=True)
        stage.steady(url=self.proxy.url)
        time.sleep(stage.seconds)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if self.proxy.lost[Fate.LOSE_REPLY] < 10:
            yield Complaint("idle", f"{self.proxy.lost[Fate.LOSE_REPLY]} replies were lost: it shows nothing")
        if found.duplicates:
            yield Complaint("repeats", f"{found.duplicates} tasks ran again, though nobody died")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"replies_lost": str(self.proxy.lost[Fate.LOSE_REPLY])}


class Blackhole(Scenario):
    """T10: nothing passes between one host and the server, and no connection ends; later, new ones pass.

    The others take over what it ran. It finds out by itself, for its old connections stay dead, and works again.
    """

    id = "T10"
    fault = "nothing passes to one host, no connection ends, for 4 leases"
    tier = "nightly"
    seconds = 10.0
    control = "no_timeouts"
    shows = ("wedged",)

    def play(self, stage: Stage) -> None:
        proxy = stage.proxy()
        cut_off = stage.host("--grace", "2s", url=proxy.url)
        stage.host()
        self.pids = set(cut_off.children())
        for _ in range(2):
            stage.produce(rate=100, seconds=CUT_S + stage.seconds)
        stage.wait_starts(20)
        self.cut = time.monotonic()
        with proxy.blackhole(forgets=True):
            time.sleep(CUT_S)
            self.healed = time.monotonic()
        time.sleep(stage.seconds)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        entries = stage.entries()
        starts = [entry for entry in entries if entry.event == "start"]
        self.rejoined = min(
            (entry.at - self.healed for entry in starts if entry.pid in self.pids and entry.at > self.healed),
            default=math.inf,
        )
        theirs = {entry.id for entry in starts if entry.pid in self.pids and entry.at < self.healed}
        again = [entry for entry in starts if entry.id in theirs and entry.pid not in self.pids]
        self.taken = max((entry.at - self.cut for entry in again), default=math.inf)
        if self.taken > 4.0:
            yield Complaint("slow", f"others had taken over what it ran after {self.taken:.1f} s")
        if self.rejoined > 5.0:
            yield Complaint(
                "wedged", f"it ran tasks again {self.rejoined:.1f} s after new connections passed"
            )
        if found.refused == 0:
            yield Complaint("idle", "it had nothing to say that was refused: it shows nothing")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {
            "taken_over": f"{self.taken:.1f}s",
            "rejoined": f"{self.rejoined:.1f}s",
            "refused": str(found.refused),
        }
