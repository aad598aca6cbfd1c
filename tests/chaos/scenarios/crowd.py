"""Many processes that want the same: a herd of idle ones, and busy ones that hand tasks round."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from tests.chaos import app as tasks
from tests.chaos.checker import Complaint, Findings
from tests.chaos.scenario import Scenario
from tests.chaos.sending import send_many
from tests.chaos.stage import Stage
from tests.support import wait_until

SLOTS = 64
IDLE_COMMANDS = 40
"""A second and process: a beat is six, twice a second for this lease, and one process has its share of a sweep."""


class Herd(Scenario):
    """H1: 64 slots idle, then have 64 tasks at once, again and again: 8 processes of 8, at night 64 of one.

    Each task gets a slot of its own at once, from whichever process; none is given twice, none is overlooked. Who is
    idle asks the server for little, and takes no processor.
    """

    id = "H1"
    fault = "64 idle slots, 64 tasks at once, again and again"
    seconds = 10.0
    control = "wait_for_no_token"
    shows = ("lost", "slow", "broke")

    def play(self, stage: Stage) -> None:
        self.processes = SLOTS if stage.seconds > 10 else 8
        host = stage.host(processes=self.processes, concurrency=SLOTS // self.processes, wait=False)
        stage.wait_ready(host, 60)
        time.sleep(0.5)
        with stage.client() as client:
            asked, used, began = commands(client.info("commandstats")), stage.cpu_seconds(), time.monotonic()
            time.sleep(1.5)
            took = time.monotonic() - began
            self.asked = (commands(client.info("commandstats")) - asked) / took
            self.cpu = (stage.cpu_seconds() - used) / took
        self.herds = 0
        end = time.monotonic() + stage.seconds - 2.0
        while time.monotonic() < end:
            with stage.sending():
                send_many(stage.rng.choice((tasks.work, tasks.awork)), [(200,)] * SLOTS)
            self.herds += 1
            wait_until(stage.watcher.at_rest, 8, "the herd to have ended")
            time.sleep(stage.rng.uniform(0.0, 0.3))

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        self.last = max(found.waited_s)
        if found.duplicates:
            yield Complaint("repeats", f"{found.duplicates} tasks ran again, though nobody died")
        if self.last > 2.0:
            yield Complaint("slow", f"with a slot for each, a task waited for {self.last:.1f} s")
        if self.asked > IDLE_COMMANDS * self.processes:
            yield Complaint("hot", f"{self.asked:.0f} commands a second while all were idle")
        if self.cpu > 0.5:
            yield Complaint("hot", f"the workers used {self.cpu:.0%} of a CPU while they were idle")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {
            "herds": str(self.herds),
            "last_start": f"{self.last:.2f}s",
            "idle_commands": f"{self.asked:.0f}/s",
            "idle_cpu": f"{self.cpu:.0%}",
        }


def commands(stats: dict[str, dict[str, int]]) -> int:
    """How many commands the server has done, those within scripts included."""
    return sum(one["calls"] for one in stats.values())


class Rounds(Scenario):
    """H2: tasks that were always short are long all of a sudden, so that what was fetched ahead waits, and goes back.

    Who gives back what it cannot start must not take it again before it can, or a task goes round while others idle:
    a claim has to come to a start, but for a few.
    """

    id = "H2"
    fault = "short tasks that turn long: what was fetched ahead goes back, again and again"
    tier = "nightly"  # its control stands still for long
    seconds = 8.0
    control = "fetch_ahead_again"
    shows = ("livelock",)

    def play(self, stage: Stage) -> None:
        stage.start_hosts(2)
        claims = claimed(stage)
        end = time.monotonic() + stage.seconds
        while time.monotonic() < end:
            for ms, count in ((1, 600), (1_500, 24)):
                with stage.sending():
                    for some in (tasks.work, tasks.awork):
                        send_many(some, [(ms,)] * (count // 2))
                with contextlib.suppress(AssertionError):  # what goes round is judged by its claims
                    wait_until(stage.watcher.at_rest, 10, "all to have ended")
        self.claims = claimed(stage) - claims

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        self.each = self.claims / max(1, found.accepted)
        if self.each > 1.2:
            yield Complaint("livelock", f"{self.claims} claims of {found.accepted} tasks")
        if found.duplicates:
            yield Complaint("repeats", f"{found.duplicates} tasks ran again, though nobody died")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"claims_each": f"{self.each:.3f}"}


def claimed(stage: Stage) -> int:
    """How many times tasks were given to processes so far: what the fence counts."""
    with stage.client() as client:
        return int(client.hget(stage.keys.meta, "g") or 0)
