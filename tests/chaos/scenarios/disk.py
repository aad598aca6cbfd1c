"""What befalls the server's disk: it is slow, and the power goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.checker import Complaint, Findings, ids_of
from tests.chaos.ledger import read
from tests.chaos.scenario import Scenario
from tests.chaos.shims import Shim, environ_of
from tests.chaos.stage import Stage
from tests.servers import RedisServer
from tests.support import wait_until

FSYNC_S = 1.5
OLDEST_S = {"server": 2.5, "machine": 2 * FSYNC_S + 1.0}
"""How old what is lost may be. With everysec the server keeps back, for 2 s at most, what comes while an fsync is under
way: a kill loses that. A power cut loses what is not synced, too: it waits for one fsync to end, and takes another.
"""
_EDGE_S = 0.3
"""What was accepted at the last moment is written down after the kill."""


class SlowDisk(Scenario):
    """T03b: each fsync takes 1.5 s, the power goes (the file keeps only what was synced), then the server is killed.

    With `appendfsync everysec` an enqueue is answered before anything is written: accepted tasks get lost, which the
    promise says, but none that is older than it says. Workers come afterwards, so that what ran is what had been kept.
    """

    id = "T03b"
    fault = "fsync takes 1.5 s, then a power cut, then a SIGKILL of the server"
    seconds = 16.0
    control = "sync_nothing"
    shows = ("age",)
    tolerates = ("lost", "unbalanced")

    def server(self, folder: Path) -> RedisServer:
        self.disk = Shim("fsync", folder.parent)
        return RedisServer("valkey", folder, environ=environ_of(self.disk))

    def play(self, stage: Stage) -> None:
        if stage.control:
            stage.server.call("CONFIG", "SET", "appendfsync", "no")
        stage.produce(rate=300, tasks=["work"], args=[1])
        wait_until(lambda: ids_of(read(stage.ledger), "accept"), 20, "the first")
        self.disk.set(FSYNC_S)
        crash_twice(stage, self.disk)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        entries = read(stage.ledger)
        kills = [entry for entry in entries if entry.event == "kill"]
        self.ages = {kill.word: 0.0 for kill in kills}
        lost = set(found.lost)
        for entry in entries:
            if entry.event == "accept" and entry.id in lost:
                kill = next((kill for kill in kills if kill.at + _EDGE_S > entry.at), kills[-1])
                self.ages[kill.word] = max(self.ages[kill.word], kill.at - entry.at)
        for word, age in self.ages.items():
            if age > OLDEST_S[word]:
                yield Complaint("age", f"the {word} lost what it had accepted {age:.1f} s before")
        if not all(self.ages.values()):
            yield Complaint("idle", f"{len(lost)} lost, {self.ages}: it shows nothing")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        ages = {f"{word}_lost_since": f"{age:.1f}s" for word, age in self.ages.items()}
        return {"relaxed_lost": str(len(found.lost)), **ages}


class DurableOnSlowDisk(Scenario):
    """T03c: the same to those who enqueue with durability="fsync": nothing of what they were told is lost.

    It takes `appendfsync always`, for WAITAOF of this server answers before its disk has anything: the control
    believes it, on a server that syncs every second.
    """

    id = "T03c"
    fault = 'fsync takes 0.3 s, then a power cut, then a SIGKILL of the server: with `durability="fsync"`'
    seconds = 10.0
    control = "believe_waitaof"
    shows = ("lost",)

    def server(self, folder: Path) -> RedisServer:
        self.disk = Shim("fsync", folder.parent)
        return RedisServer("valkey", folder, "--appendfsync", "always", environ=environ_of(self.disk))

    def play(self, stage: Stage) -> None:
        if stage.control:
            stage.server.args = ()
            stage.server.call("CONFIG", "SET", "appendfsync", "everysec")
        stage.produce(rate=300, tasks=["work"], args=[1], using={"durability": "fsync"}, threads=32)
        wait_until(lambda: ids_of(read(stage.ledger), "accept"), 20, "the first")
        self.disk.set(0.3)
        crash_twice(stage, self.disk)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if found.accepted < 100:
            yield Complaint("idle", f"{found.accepted} accepted: it shows nothing")


def crash_twice(stage: Stage, disk: Shim) -> None:
    """Cut the power, later kill the server; then note what is gone, and start a worker."""
    for word, share in (("machine", 0.65), ("server", 0.3)):
        time.sleep(stage.seconds * share)
        stage.note("kill", word, stage.server.pid)
        stage.server.kill()
        if word == "machine":
            stage.server.keep_aof(disk.synced)
        stage.server.start()
    for producer in stage.producers:
        producer.process.wait(60)
    disk.set(0)
    with stage.client() as client:
        for id in ids_of(read(stage.ledger), "accept"):
            if not client.exists(stage.keys.record(id), stage.keys.message(id)):
                stage.watcher.vanished.add(id)
    stage.host()
