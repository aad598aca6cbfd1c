"""What befalls the server's memory: it is full, or it throws away what it was given."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taskq.broker.commands import operating
from taskq.inspector.doctor import Patient, Status, diagnose
from taskq.inspector.server_checks import SERVER_CHECKS
from tests.chaos.checker import Complaint, Findings, ids_of, percentile
from tests.chaos.ledger import Entry, read
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.servers import RedisServer
from tests.support import wait_until

REFUSED_S = 0.1
"""Within this a producer hears that the server is full: it does not wait, and repeats nothing."""
LONG_MS = 1_000
_EDGE_S = 0.1
"""What was on its way when the server became full may have been accepted, and is written down this much later."""


class ServerFull(Scenario):
    """T16: a queue that nobody works off fills the server's memory; then it is full for a while, whatever ends.

    Producers hear BackpressureError at once, and nothing of what they sent is there. All else goes on: the queue is
    resumed, what runs ends and is settled, leases are extended, the queue is worked off.
    """

    id = "T16"
    fault = "the server's memory is filled, stays full, and is freed"
    seconds = 10.0
    control = "enter_a_full_server"
    shows = ("past",)

    def play(self, stage: Stage) -> None:
        with stage.client() as client:
            stage.start_hosts(2)
            stage.broker.call(operating.pause(stage.keys, "default"))
            client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 3_000_000)
            for using in ({}, {"expires": "1h", "priority": 4}):
                stage.produce(rate=300, tasks=["work"], args=[5, "x" * 8_000], using=using, delay_s=0.5)
            stage.produce(rate=300, tasks=["work"], args=[5, "x" * 8_000])
            wait_until(lambda: "reject" in self._events(stage), 20, "the server to be full")
            stage.broker.call(operating.resume(stage.keys, "default"))
            time.sleep(stage.seconds / 4)
            client.config_set("maxmemory", 0)
            self.long = {id for _ in range(8) if (id := stage.enqueue("work", LONG_MS, priority=9))}
            wait_until(lambda: self.long <= ids_of(read(stage.ledger), "start"), 20, "the long ones to run")
            client.config_set("maxmemory", "1mb")
            stage.note("stop", "memory")
            self.took: list[float] = []
            end = time.monotonic() + stage.seconds / 2
            while time.monotonic() < end:
                began = time.monotonic()
                stage.enqueue("work", 5)
                self.took.append(time.monotonic() - began)
                time.sleep(0.02)
            stage.note("back", "memory")
            client.config_set("maxmemory", 0)

    @staticmethod
    def _events(stage: Stage) -> set[str]:
        return {entry.event for entry in read(stage.ledger)}

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        entries = read(stage.ledger)
        [full] = [entry.at for entry in entries if entry.event == "stop"]
        [free] = [entry.at for entry in entries if entry.event == "back"]
        self.refused = [entry for entry in entries if entry.event == "reject"]
        held = [entry for entry in entries if full + _EDGE_S < entry.at < free]
        if other := {entry.word for entry in self.refused} - {"BackpressureError"}:
            yield Complaint("class", f"producers heard {', '.join(other)}")
        if past := ids_of(held, "accept"):
            yield Complaint("past", f"{len(past)} were accepted while the server was full")
        if missing := self.long - _committed(held):
            yield Complaint("stuck", f"{len(missing)} that ran were not settled while the server was full")
        if (took := percentile(self.took, 0.95)) > REFUSED_S:
            yield Complaint("slow", f"producers heard of it after {took * 1e3:.0f} ms")
        if found.duplicates or found.refused:
            yield Complaint("repeats", f"{found.duplicates} ran again, {found.refused} were taken away")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"rejected": str(len(self.refused)), "heard_p95": f"{percentile(self.took, 0.95) * 1e3:.0f}ms"}


def _committed(entries: list[Entry]) -> set[str]:
    return {entry.id for entry in entries if entry.event == "commit" and entry.word == "S"}


class Evicted(Scenario):
    """T17: the server evicts, as a cache does, and a queue that nobody works off fills its memory.

    taskq cannot keep what the server throws away. It says so before, when a worker starts, and afterwards: each task
    that has vanished is known by its id, a worker logs their number, the doctor finds the keys that were evicted. LFU
    keeps the queue's list, which every call uses. With LRU, whose clock ticks in seconds, the list goes too, and what
    stood in it is known to nobody.
    """

    id = "T17"
    fault = "a server with `allkeys-lfu` and no AOF evicts waiting tasks: each is said to have vanished"
    seconds = 8.0
    control = "forget_what_vanished"
    shows = ("silent",)
    tolerates = ("lost", "unbalanced")

    def server(self, folder: Path) -> RedisServer:
        return RedisServer("redis", folder, "--maxmemory-policy", "allkeys-lfu", aof=False)

    def play(self, stage: Stage) -> None:
        keys = stage.keys
        stage.start_hosts(2)
        with stage.client() as client:
            stage.broker.call(operating.pause(keys, "default"))
            client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 4_000_000)
            for _ in range(2):
                stage.produce(rate=300, tasks=["work"], args=[5, "x" * 8_000])
            for producer in stage.producers:
                producer.process.wait(60)
            client.config_set("maxmemory", 0)
            stage.broker.call(operating.resume(keys, "default"))
            wait_until(lambda: not client.exists(*keys.lists("default")), 30, "the queue to be empty")
            ids: set[Any] = client.smembers(keys.limbo)
            self.limbo = {id.decode() for id in ids}
            stage.watcher.vanished |= self.limbo
            time.sleep(1.0)  # three sweeps
        self.logs = [host.path.read_text() for host in stage.hosts]
        found = stage.broker.run(diagnose(Patient(stage.broker.keys), SERVER_CHECKS))
        self.doctor = " ".join(one.says for one in found if one.status is Status.PROBLEM)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        self.evicted = len(found.lost)
        if not found.lost:
            yield Complaint("idle", "nothing vanished: it shows nothing")
        if silent := set(found.lost) - self.limbo:
            yield Complaint("silent", f"{len(silent)} of {len(found.lost)} vanished without a word")
        if not all("maxmemory-policy is allkeys-lfu" in log for log in self.logs):
            yield Complaint("unsaid", "a worker started without a word on a server that evicts")
        if not any("have vanished" in log for log in self.logs):
            yield Complaint("silent", "no worker logged that tasks have vanished")
        if "has evicted" not in self.doctor:
            yield Complaint("unsaid", f"the doctor finds only: {self.doctor}")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"vanished": str(self.evicted), "in_limbo": str(len(self.limbo))}
