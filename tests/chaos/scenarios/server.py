"""What befalls the server: killed, stopped, its connections cut."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import psutil

from tests.chaos.checker import Complaint, Findings
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage

BACK_S = 5.0
"""Within this after the server is there again, tasks start."""


class ServerStopped(Scenario):
    """T05: the server stands still for longer than the lease. Nobody has died, so nobody's tasks are another's.

    Leases are over by then, and beats stood still: who looks at the one or the other alone reaps the living.
    """

    id = "T05"
    fault = "SIGSTOP of the server for longer than the lease"
    seconds = 12.0
    control = "reap_at_once"
    shows = ("repeats",)

    def play(self, stage: Stage) -> None:
        stage.steady()
        pids = stage.pids()
        used = stage.cpu_seconds()
        with stage.server.frozen():
            time.sleep(3.0 + stage.seconds / 3)
            self.cpu = (stage.cpu_seconds() - used) / (3.0 + stage.seconds / 3)
        stage.note("back", "server")
        time.sleep(stage.seconds / 2)
        self.gone = len(set(pids) - set(stage.pids()))

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if found.duplicates or found.refused:
            yield Complaint(
                "repeats", f"{found.duplicates} tasks ran again, {found.refused} outcomes were refused"
            )
        if max(found.resumed_s) > 3.0:
            yield Complaint("wedged", f"tasks started {found.resumed_s} s after it went on")
        if self.gone:
            yield Complaint("exit", f"{self.gone} process(es) of the workers have ended")
        if self.cpu > 0.5:
            yield Complaint("hot", f"the workers used {self.cpu:.0%} of a CPU while the server stood still")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"resumed": f"{max(found.resumed_s):.1f}s", "idle_cpu": f"{self.cpu:.0%}"}


class ConnectionsKilled(Scenario):
    """T06: the server closes everyone's connections five times a second.

    What is under way gets lost with them, commands and replies. Work goes on at no less than 40 % of what it was, no
    descriptor is left behind, and nobody spins.
    """

    id = "T06"
    fault = "CLIENT KILL of all connections every 200 ms"
    seconds = 12.0
    control = "keep_broken_connections"
    shows = ("descriptors",)

    def play(self, stage: Stage) -> None:
        stage.steady()
        time.sleep(1.0)
        pids, before = stage.pids(), descriptors(stage.pids())
        self.calm = self.rate(stage, 1.5)
        end = time.monotonic() + stage.seconds - 3.0
        used, began = stage.cpu_seconds(), time.monotonic()
        starts = stage.watcher.starts
        with stage.client() as client:
            while time.monotonic() < end:
                client.client_kill_filter(_type="normal", skipme=True)
                time.sleep(0.2)
        seconds = time.monotonic() - began
        self.torn = (stage.watcher.starts - starts) / seconds
        self.cpu = (stage.cpu_seconds() - used) / seconds
        time.sleep(1.0)
        self.grown = descriptors(pids) - before

    @staticmethod
    def rate(stage: Stage, seconds: float) -> float:
        starts = stage.watcher.starts
        time.sleep(seconds)
        return (stage.watcher.starts - starts) / seconds

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if self.torn < 0.4 * self.calm:
            yield Complaint("slow", f"{self.torn:.0f} tasks/s, {self.calm:.0f} before")
        if self.grown > 8:
            yield Complaint("descriptors", f"{self.grown} more are open than before")
        if self.cpu > 0.9:
            yield Complaint("hot", f"the workers used {self.cpu:.0%} of a CPU")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {
            "rate": f"{self.torn:.0f}/{self.calm:.0f}",
            "fds": f"{self.grown:+}",
            "worker_cpu": f"{self.cpu:.0%}",
        }


def descriptors(pids: list[int]) -> int:
    """How many descriptors these processes have open."""
    found = 0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += psutil.Process(pid).num_fds()
    return found


class ServerKilled(Scenario):
    """T03: the server is killed again and again, and comes back on its own data after a while.

    No process of a worker may end for it. AOF everysec: a kill loses nothing that was acknowledged, for what the
    server has written is the kernel's; what a power cut loses is another scenario's subject.
    """

    id = "T03"
    fault = "SIGKILL of the server, back after up to 3 s"
    seconds = 12.0
    control = "exit_on_connection_error"
    shows = ("exit",)

    def play(self, stage: Stage) -> None:
        stage.steady()
        before = set(stage.pids())
        self.kills = 0
        end = time.monotonic() + stage.seconds
        while time.monotonic() < end:
            self.kills += 1
            with stage.server_away():
                time.sleep(stage.rng.uniform(0, 3))
            time.sleep(stage.rng.uniform(1, 2))
        self.gone = len(before - set(stage.pids()))

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if self.gone:
            yield Complaint("exit", f"{self.gone} process(es) of the workers have ended")
        if max(found.resumed_s, default=BACK_S) > BACK_S:
            yield Complaint(
                "wedged", f"tasks started {[round(s, 1) for s in found.resumed_s]} s after it was back"
            )

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"kills": str(self.kills), "resumed": f"{max(found.resumed_s, default=0):.1f}s"}
