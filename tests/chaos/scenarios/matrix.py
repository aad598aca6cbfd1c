"""The failure matrix of docs/internals.md: supervisor and child, each stopped and each killed, one at a time.

Both stopped at once is T02.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from functools import partial

import psutil

from taskq.broker.commands import working
from tests.chaos import app as tasks
from tests.chaos.checker import Complaint, Findings, spans
from tests.chaos.scenario import Scenario
from tests.chaos.sending import send_many
from tests.chaos.stage import LEASE_S, Host, Stage
from tests.support import wait_until

STOPPED_S = 2 * LEASE_S
LONG_MS = 3_000
"""Longer than the lease: who loses its lease has these repeated."""


@contextlib.contextmanager
def stopped(stage: Stage, pid: int, word: str) -> Generator[float]:
    """Stop one process for the body (SIGSTOP); gives when."""
    stage.note("stop", word, pid)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield time.monotonic()
    finally:
        os.kill(pid, signal.SIGCONT)
        stage.note("back", word, pid)


def repeats(found: Findings, why: str) -> Iterator[Complaint]:
    """Complain of every start that is not a task's first, and of every outcome that came too late."""
    if found.duplicates or found.refused:
        yield Complaint(
            "repeats", f"{found.duplicates} tasks ran again, {found.refused} outcomes were refused: {why}"
        )


class SupervisorStopped(Scenario):
    """M1: a supervisor stands still for two leases, its processes do not: they beat for themselves, and work on."""

    id = "M1"
    fault = "SIGSTOP of a supervisor for 2 leases, not of its processes"
    seconds = 10.0
    control = "no_own_beats"
    shows = ("repeats",)

    def play(self, stage: Stage) -> None:
        stage.steady()
        end = time.monotonic() + stage.seconds
        self.least = float("inf")
        while time.monotonic() < end:
            host = stage.rng.choice(stage.hosts)
            pids = set(host.children())
            for task in ("work", "awork") * 2:
                stage.enqueue(task, LONG_MS)
            with stopped(stage, host.pid, "supervisor") as since:
                time.sleep(STOPPED_S)
                over = [entry for entry in stage.entries() if entry.at > since + LEASE_S]
                self.least = min(self.least, sum(e.event == "start" and e.pid in pids for e in over))
            time.sleep(1.0)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        yield from repeats(found, "their processes lived")
        if self.least < 10:
            yield Complaint("wedged", f"its processes started {self.least} tasks while it stood still")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"starts_meanwhile": f"{self.least:g}"}


class ChildStopped(Scenario):
    """M2: a process stands still for two leases, its supervisor does not.

    What it runs stays its own, for it may go on at any time. What it has not started runs elsewhere within half a
    lease, a beat of 0.5 s and a second for a busy machine; not what stood still between admission and first
    line. What has ended there and is not settled looks as if it had not started, and runs again.
    """

    id = "M2"
    fault = "SIGSTOP of a process for 2 leases, not of its supervisor"
    seconds = 8.0
    control = "leave_the_silent_alone"
    shows = ("slow",)

    def play(self, stage: Stage) -> None:
        victim = stage.host(processes=1, concurrency=8)
        stage.host(processes=1, concurrency=8)
        (self.pid,) = victim.children()
        self.kept = list[tuple[float, set[str]]]()
        end = time.monotonic() + stage.seconds
        while time.monotonic() < end:
            before = stage.watcher.starts
            with stage.sending():
                send_many(tasks.work, [(5,)] * 2_000)
            stage.wait_starts(before + 300)
            with stopped(stage, self.pid, "child") as since:
                self.kept.append((since, held_by(stage, self.pid)))
                time.sleep(STOPPED_S)
            wait_until(stage.watcher.at_rest, 30, "all to have ended")

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        runs = spans(stage.entries())
        starts = {run.id: run.start / 1e9 for run in sorted(runs, key=lambda run: -run.start)}
        count = Counter(run.id for run in runs)
        ran = {
            run.id
            for since, held in self.kept
            for run in runs
            if run.id in held and run.pid == self.pid and run.start / 1e9 < since < run.end / 1e9
        }
        if again := [id for id in ran if count[id] > 1]:
            yield Complaint("repeats", f"{len(again)} ran when it was stopped, and ran again, as {again[0]}")
        waits = [[starts[id] - since for id in held if starts[id] > since] for since, held in self.kept]
        self.returned = sum(map(len, waits))
        soon = LEASE_S / 2 + 0.5 + 1.0
        late = [[wait for wait in some if wait > soon] for some in waits]
        if any(len(some) > 2 for some in late):
            yield Complaint(
                "slow", f"what it had not started waited {max(map(max, filter(None, late))):.1f} s"
            )
        if self.returned == 0:
            yield Complaint("idle", "it held nothing that it had not started: it shows nothing")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"returned": str(self.returned)}


def held_by(stage: Stage, pid: int) -> set[str]:
    """What the server has as held by a process."""
    names = [name for name, its in stage.processes().items() if its == pid]
    return {id for name in names for id in stage.broker.call(working.holds(stage.keys, name))}


class SupervisorKilled(Scenario):
    """M3: a supervisor is killed, its processes are not: they claim no more, end what they run, and are gone.

    They beat until then, so what they run for longer than the lease is repeated by nobody.
    """

    id = "M3"
    fault = "SIGKILL of a supervisor, not of its processes"
    seconds = 8.0
    control = "die_with_the_supervisor"
    shows = ("repeats",)

    def play(self, stage: Stage) -> None:
        stage.steady()
        self.longest = 0.0
        end = time.monotonic() + stage.seconds
        while time.monotonic() < end:
            host = stage.rng.choice(stage.hosts)
            before = stage.watcher.starts
            for task in ("work", "awork") * 2:
                stage.enqueue(task, LONG_MS)
            stage.wait_starts(before + 20)
            left = self.kill(stage, host)
            killed = time.monotonic()
            wait_until(partial(all_gone, left), 20, "its processes to end")
            self.longest = max(self.longest, time.monotonic() - killed)
            stage.host()
        time.sleep(LEASE_S + 1.0)  # nobody says goodbye for them: others forget them after a lease

    @staticmethod
    def kill(stage: Stage, host: Host) -> list[int]:
        """Kill the supervisor; gives its processes. They run no task that the kill ends, so none is noted."""
        left = host.children()
        os.kill(host.pid, signal.SIGKILL)
        host.wait()
        stage.forget(host)
        return left

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        yield from repeats(found, "only supervisors were killed")
        if self.longest > LONG_MS / 1_000 + 2.0:
            yield Complaint("wedged", f"a process outlived its supervisor by {self.longest:.1f} s")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"outlived": f"{self.longest:.1f}s"}


def all_gone(pids: Iterable[int]) -> bool:
    """Whether none of these runs; one that nobody has waited for yet does not."""
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return False
    return True


class Killed(Scenario):
    """M4: processes are killed, and hosts, in turn.

    A process's tasks start again within a second, for its supervisor sees it die. A host's are missed by others: after
    a lease and two sweeps, one a beat of 0.5 s, and they have half a second to start. They run alone then, each in a
    process that has nothing else.
    """

    id = "M4"
    fault = "SIGKILL of a process, of a whole host, in turn"
    seconds = 10.0
    control = "leave_the_dead_to_sweepers"
    shows = ("slow",)

    def play(self, stage: Stage) -> None:
        stage.steady()
        end = time.monotonic() + stage.seconds
        while time.monotonic() < end:
            stage.kill_child(stage.rng.choice(stage.hosts))
            time.sleep(1.5)
            stage.kill_host(stage.rng.choice(stage.hosts))
            stage.host()
            time.sleep(1.0)
        time.sleep(LEASE_S + 1.0)  # the dead are forgotten by then

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        self.worst = {word: max(found.recovered_s.get(word, [0.0])) for word in ("child", "host")}
        for word, soon in (("child", 1.0), ("host", LEASE_S + 2 * 0.5 + 0.5)):
            if self.worst[word] > soon:
                yield Complaint("slow", f"a task of a killed {word} was back after {self.worst[word]:.2f} s")
        if not found.recovered:
            yield Complaint("idle", "nothing that ran was killed: it shows nothing")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {f"{word}_max": f"{seconds:.2f}s" for word, seconds in self.worst.items()}
