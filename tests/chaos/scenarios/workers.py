"""What befalls workers: killed, stopped for longer than their lease."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.chaos.checker import Complaint, Findings, percentile
from tests.chaos.scenario import Scenario
from tests.chaos.stage import LEASE_S, Stage
from tests.support import wait_until

MISSED_S = LEASE_S + 2.0
"""Within this what a host ran that died has started again: a lease, two sweeps, and a second to find a free process."""


class WorkerKilled(Scenario):
    """T01: processes die one by one, and now and then a whole host, which is replaced.

    A process that dies is seen by its supervisor, so its tasks are back at once; who dies with the supervisor is missed
    after a lease of 2 s and two sweeps of 0.33 s by others. These have to live for that: one host dies at a time.
    """

    id = "T01"
    fault = "SIGKILL of random processes and whole hosts"
    seconds = 12.0
    control = "ack_before_run"
    shows = ("lost",)

    def play(self, stage: Stage) -> None:
        self.kills = 0
        stage.steady(hosts=2)
        host_killed = -MISSED_S
        for now in stage.at_random(0.5, 2.0):
            self.kills += 1
            if stage.rng.random() < 0.4 and now - host_killed > MISSED_S:
                host_killed = now
                stage.kill_host(stage.hosts[0])
                stage.host(wait=False)
            else:
                stage.kill_child(
                    stage.hosts[0]
                )  # not the new one: who loses its first process at its start ends

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if not found.recovered:
            yield Complaint("idle", "nothing that ran was killed: it shows nothing")
        if (child := percentile(found.recovered_s.get("child", []), 0.99)) > 1.0:
            yield Complaint("slow", f"the tasks of a killed process were back after {child:.1f} s")
        if (host := percentile(found.recovered_s.get("host", []), 0.99)) > MISSED_S:
            yield Complaint("slow", f"the tasks of a killed host were back after {host:.1f} s")
        slots = 2 * 4
        if found.duplicates > (most := self.kills * slots):
            yield Complaint("repeats", f"{found.duplicates} starts were repeated, {most} at most were killed")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        child, host = (percentile(found.recovered_s.get(word, []), 0.99) for word in ("child", "host"))
        return {"kills": str(self.kills), "child_p99": f"{child:.2f}s", "host_p99": f"{host:.2f}s"}


REAPED_S, RUN_MS = LEASE_S + 1.0, 3_500
"""A worker that stands still is missed after a lease and two sweeps. What it ran ends as soon as it wakes then, and
what others took over of it does not.
"""


class WorkerStopped(Scenario):
    """T02: a worker stands still for longer than its lease, and goes on: its tasks are others' by then.

    It may still run what it had begun, beside the one who took it over. It must commit nothing of that: its outcomes
    are refused, or, where it hears first that it was given up, not even sent.
    """

    id = "T02"
    fault = "SIGSTOP of a worker for 2 leases, then SIGCONT"
    seconds = 12.0
    control = "settle_without_fence"
    shows = ("stale", "double", "changed")

    def play(self, stage: Stage) -> None:
        victim = stage.host(processes=6, concurrency=2)
        end = time.monotonic() + stage.seconds
        while time.monotonic() < end:
            before = stage.watcher.starts
            for task in ("work", "awork") * 5:
                stage.enqueue(task, RUN_MS)
            stage.wait_starts(before + 10)
            with stage.paused(victim):
                other = stage.host(processes=6, concurrency=2)  # idle, so that it takes all over at once
                time.sleep(REAPED_S)
            wait_until(stage.watcher.at_rest, 30, "all to have ended")
            stage.retire(victim)
            victim = other

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if not found.overlaps:
            yield Complaint("idle", "no task was taken over while its first owner had it: it shows nothing")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"refused": str(found.refused)}
