"""What tasks do to those beside them: some take their process along, some all of their host."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Collection, Iterator

from tests.chaos.checker import Complaint, Findings, percentile
from tests.chaos.ledger import Entry, read
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage

MAX_CRASHES = {"pill": 3, "plug": 1}
WAIT_S = 4.0
"""So long at most, at the 99th percentile, others wait for their first start."""


class _Poisoned:
    """Pills among other work."""

    calls: tuple[tuple[str, ...], ...]
    pills_a_second = 1.0

    def play(self, stage: Stage) -> None:
        stage.steady()
        self.pills: dict[str, int] = {}
        """Id → how often it may start: the first one, where neighbours are suspects too, may be uncharged."""
        count = max(len(self.calls), round(stage.seconds * self.pills_a_second))
        for _, (task, *args) in zip(range(count), itertools.cycle(self.calls), strict=False):
            if id := stage.enqueue(task, *args):
                self.pills[id] = 1 + MAX_CRASHES[task]
            self._go_on(stage, stage.seconds / count)
        end = time.monotonic() + 60
        while time.monotonic() < end and not all(stage.watcher.states.get(id) == "F" for id in self.pills):
            self._go_on(stage, 0.2)

    def _go_on(self, stage: Stage, seconds: float) -> None:
        """Replace hosts that have died, as whoever runs them does, for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for host in [host for host in stage.hosts if not host.running()]:
                host.end()
                stage.hosts.remove(host)
                stage.host(wait=False)
            time.sleep(0.05)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        entries = read(stage.ledger)
        starts = Counter(entry.id for entry in entries if entry.event == "start")
        self.most = max(starts[id] for id in self.pills)
        over = [id for id, most in self.pills.items() if starts[id] > most]
        self.waits = waits_s(entries, self.pills)
        self.charged = max(entry.attempt for entry in entries if entry.id not in self.pills) - 1
        self.dead = sorted(
            id for id, state in stage.watcher.states.items() if state == "F" and id not in self.pills
        )
        if self.dead:
            yield Complaint("innocents", f"{len(self.dead)} dead that harmed nobody, as {self.dead[:3]}")
        if over:
            yield Complaint(
                "starts", f"{len(over)} were started more often than they may crash, as {over[:3]}"
            )
        if alive := [id for id in self.pills if stage.watcher.states.get(id) != "F"]:
            yield Complaint(
                "pills", f"{len(alive)} of {len(self.pills)} are not among the dead, as {alive[:3]}"
            )
        if (wait := percentile(self.waits, 0.99)) > WAIT_S:
            yield Complaint("slow", f"others waited {wait:.1f} s for their first start")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {
            "pills": str(len(self.pills)),
            "starts_max": str(self.most),
            "innocents_dead": str(len(self.dead)),
            "charged_max": str(self.charged),
            "wait_p99": f"{percentile(self.waits, 0.99):.2f}s",
        }


def waits_s(entries: list[Entry], without: Collection[str]) -> list[float]:
    """Give how long each other task waited from the answer to its enqueue to its first start."""
    accepted = {
        entry.id: entry.ns for entry in entries if entry.event == "accept" and entry.id not in without
    }
    starts: dict[str, int] = {}
    for entry in entries:
        if entry.event == "start" and entry.id in accepted:
            starts.setdefault(entry.id, entry.ns)
    return [(ns - accepted[id]) / 1e9 for id, ns in starts.items()]


class ProcessPoisoned(_Poisoned, Scenario):
    """T15: tasks that end their process, take all its memory, or sit in C code with the interpreter's lock.

    They run among others in the same processes. Each is started as often as it may crash, once more where it had
    neighbours, and is dead then; nobody else dies of it, or waits for long.
    """

    id = "T15"
    fault = "a task each second that ends its process, takes all memory, or never returns from C"
    seconds = 10.0
    control = "charge_neighbours"
    shows = ("innocents",)
    tolerates = ("undeserved",)  # the pills, and who else is judged below
    calls = (("plug",), ("pill", "leave"), ("pill", "crash"), ("pill", "kill"), ("pill", "swell"))


class HostPoisoned(_Poisoned, Scenario):
    """T15b: tasks that end all processes of their host at once, supervisor included: nobody is left to testify.

    Whatever else ran there is suspected, too, and runs alone next. What kills its host alone is charged.
    """

    id = "T15b"
    fault = "tasks that end all processes of their host at once; the host comes back"
    tier = "nightly"  # each of their starts costs a host, which is missed after a lease
    seconds = 10.0
    control = "charge_all_of_a_host"
    shows = ("innocents",)
    tolerates = ("undeserved",)  # the pills, and who else is judged below
    calls = (("pill", "raze"),)
