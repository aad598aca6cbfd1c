"""Tasks much longer than the lease: what lives keeps them, what died does not wait behind them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.checker import Complaint, Findings
from tests.chaos.scenario import Scenario
from tests.chaos.stage import LEASE_S, Stage

LIVE, ORPHANS = 400, 100


class Orphans(Scenario):
    """T18: a host dies with 100 tasks, while the processes of two that have been there for longer hold 400, and live.

    Whoever looks for orphans from the head of what there is, a bounded number at a time, finds the living again and
    again. All 100 start again, in processes that have nothing else, after a lease and two sweeps, one a beat of 0.5 s,
    and the second that it takes two processes to run them one by one. The 400 stay whose they are.
    """

    id = "T18"
    fault = "SIGKILL of a host with 100 tasks, behind 400 of others that live"
    seconds = 6.0
    control = "look_at_the_first_only"
    shows = ("slow",)

    def play(self, stage: Stage) -> None:
        live, orphans = stage.folder / "live may end", stage.folder / "orphans may end"
        stage.start_hosts(2, concurrency=LIVE // 4)
        self.fill(stage, LIVE, live)
        victim = stage.host(processes=1, concurrency=ORPHANS)
        self.fill(stage, ORPHANS, orphans)
        stage.host(concurrency=1)
        stage.kill_host(victim)
        orphans.touch()
        before = stage.watcher.starts
        with contextlib.suppress(AssertionError):  # judged below
            stage.wait_starts(before + ORPHANS, stage.seconds + 5)
        live.touch()

    @staticmethod
    def fill(stage: Stage, count: int, path: Path) -> None:
        before = stage.watcher.starts
        stage.produce(rate=1e6, seconds=20, count=count, tasks=["until"], args=[str(path)])
        stage.wait_starts(before + count)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        recovered = found.recovered
        self.last = max(recovered, default=99.0)
        if len(recovered) < ORPHANS or self.last > LEASE_S + 2 * 0.5 + 1.0:
            yield Complaint(
                "slow", f"{len(recovered)} of {ORPHANS} started again, the last after {self.last:.1f} s"
            )
        if found.duplicates != len(recovered) or found.refused:
            yield Complaint("repeats", f"{found.duplicates} ran again, {len(recovered)} had died")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"orphans_back": f"{self.last:.2f}s"}


class LongTasks(Scenario):
    """T19: tasks run for several leases: async ones, sync ones, and an async one that holds the loop with `time.sleep`.

    Each lives as long as its process beats, and neither the loop nor a task's thread has a part in that. In a quick run
    they last for three leases, in a nightly one for more.
    """

    id = "T19"
    fault = "tasks of several leases; one sleeps in the event loop"
    tier = "nightly"  # its control stands still for long
    seconds = 10.0
    control = "beat_between_tasks"
    shows = ("repeats",)

    def play(self, stage: Stage) -> None:
        stage.start_hosts(2)
        ms = round(stage.seconds * 1_000) + 1_000
        for task in ("holding", *("work", "awork") * 4):
            stage.enqueue(task, ms)
        stage.produce(rate=50)
        stage.wait_starts(9)
        self.leases = ms / 1_000 / LEASE_S

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if found.duplicates or found.refused or found.overlaps:
            yield Complaint("repeats", f"{found.duplicates} ran again, {found.refused} outcomes were refused")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"leases": f"{self.leases:.1f}"}
