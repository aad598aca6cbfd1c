"""What comes late: from a process that was retired, or that stood still while its tasks' ids were taken anew."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.checker import Complaint, Findings
from tests.chaos.scenario import Scenario
from tests.chaos.stage import LEASE_S, Host, Stage
from tests.proxy import Fate, Words, names
from tests.support import wait_until

RUN_MS = 1_000
RETIRED_S = LEASE_S + 10
"""At the latest; usually after the lease and a sweep."""


class LateClaims(Scenario):
    """Z1: a process is killed while a claim of it is on its way, and the claim arrives once the process was retired.

    It must give nothing: nobody would run it, and nobody would miss it. Tasks wait when it arrives, for everyone else
    stands still for a moment.
    """

    id = "Z1"
    fault = "SIGKILL of a host with a claim on its way, which arrives once its process was retired"
    seconds = 8.0
    control = "claim_without_lease"
    shows = ("given", "lost", "unbalanced")

    def play(self, stage: Stage) -> None:
        self.late, self.given = 0, 0
        rest = stage.host()
        stage.produce(rate=100)
        end = time.monotonic() + stage.seconds
        while time.monotonic() < end:
            self._one(stage, rest)

    def _one(self, stage: Stage, rest: Host) -> None:
        armed, caught, released = threading.Event(), threading.Event(), threading.Event()

        def judge(words: Words) -> Fate:
            if armed.is_set() and names(words, "claim"):
                caught.set()
                released.wait(RETIRED_S + 5)
            return Fate.PASS

        known = {*stage.processes()}
        doomed = stage.host(processes=1, url=stage.proxy(judge).url)
        [name] = [*stage.processes().keys() - known]
        armed.set()
        wait_until(caught.is_set, message="a claim to be on its way")
        stage.kill_host(doomed)
        wait_until(lambda: name not in stage.processes(), RETIRED_S, f"{name} to be retired")
        with stage.paused(rest), stage.client() as client:
            for _ in range(20):
                stage.enqueue("work", 20)
            released.set()
            time.sleep(0.3)
            self.late += 1
            self.given += client.exists(stage.keys.held(name))

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if self.given:
            yield Complaint("given", f"{self.given} of {self.late} late claims were given tasks")
        if not self.late:
            yield Complaint("idle", "no claim came late: it shows nothing")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"late_claims": str(self.late)}


class TakenAnew(Scenario):
    """Z2: a host stands still; its tasks run elsewhere, end, and are deleted; then their ids are enqueued anew.

    When it goes on, some of the new lives run elsewhere, and some still wait: what it has to say of the former ones
    counts for none of them. Each id has two lives, so it may have two outcomes and end twice.
    """

    id = "Z2"
    fault = "SIGSTOP of a host; its tasks' ids end elsewhere, are deleted, and live again when it goes on"
    seconds = 8.0
    control = "settle_without_fence"
    shows = ("stale", "swallowed", "twice")
    tolerates = ("double", "changed")

    def play(self, stage: Stage) -> None:
        self.lives: dict[str, float] = {}
        """When the second life of each id began (monotonic)."""
        victim = stage.host(processes=6)
        end = time.monotonic() + stage.seconds
        while time.monotonic() < end:
            ids = [f"z-{len(self.lives) + n}" for n in range(10)]
            before = stage.watcher.starts
            for n, id in enumerate(ids):
                stage.enqueue(("work", "awork")[n % 2], RUN_MS, id=id)
            stage.wait_starts(before + len(ids))
            with stage.paused(victim), stage.client() as client:
                other = stage.host(processes=6)
                wait_until(lambda some=ids: self._ended(stage, some), 20, "the first lives to have ended")  # type: ignore[misc]
                client.delete(*(stage.keys.record(id) for id in ids))
                for n, id in enumerate(ids):
                    self.lives[id] = time.monotonic()
                    later = {"delay": 1.0} if n < len(ids) // 2 else {}
                    stage.enqueue("awork", RUN_MS, id=id, **later)
            wait_until(lambda some=ids: self._ended(stage, some), 20, "the second lives to have ended")  # type: ignore[misc]
            stage.retire(victim)
            victim = other

    @staticmethod
    def _ended(stage: Stage, ids: list[str]) -> bool:
        with stage.client() as client:
            records: Any = client.mget([stage.keys.record(id) for id in ids])
        return all(record is not None and record[:2] == b"S|" for record in records)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        entries = stage.entries()
        lived = {e.id for e in entries if e.event == "start" and e.at > self.lives.get(e.id, float("inf"))}
        if swallowed := sorted(self.lives.keys() - lived):
            yield Complaint("swallowed", f"{len(swallowed)} never started anew, as {swallowed[0]}")
        claims = Counter((e.id, e.fence) for e in entries if e.event == "commit")
        if twice := sorted(id for (id, _), count in claims.items() if count > 1):
            yield Complaint("twice", f"{len(twice)} claims have two outcomes, as one of {twice[0]}")
        if not found.overlaps:
            yield Complaint("idle", "nobody came late: it shows nothing")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"refused": str(found.refused)}
