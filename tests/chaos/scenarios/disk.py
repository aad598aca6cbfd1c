"""What befalls the server's disk: it is slow, and the power goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.checker import Complaint, Findings, ids_of
from tests.chaos.ledger import Entry, read
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
    promise says, but none that is older than it says, and none with durability="fsync". Workers come afterwards, so
    that what ran is what had been kept.
    """

    id = "T03b"
    fault = 'fsync takes 1.5 s, then a power cut, then a SIGKILL of the server: with `durability="fsync"`'
    seconds = 10.0
    control = "wait_for_no_disk"
    shows = ("undurable",)
    tolerates = ("lost", "unbalanced")

    def server(self, folder: Path) -> RedisServer:
        self.disk = Shim("fsync", folder.parent)
        return RedisServer("valkey", folder, environ=environ_of(self.disk))

    def play(self, stage: Stage) -> None:
        stage.produce(rate=300, tasks=["work"], args=[1])
        durable = stage.produce(rate=300, tasks=["work"], args=[1], using={"durability": "fsync"}, threads=32)
        self.durable = durable.process.pid
        wait_until(lambda: ids_of(self._of_the_durable(read(stage.ledger)), "accept"), 20, "the first")
        self.disk.set(FSYNC_S)
        for word in ("machine", "server"):
            time.sleep(stage.seconds * 0.45)
            self._crash(stage, word)
        for producer in stage.producers:
            producer.process.wait(60)
        self.disk.set(0)
        with stage.client() as client:
            for id in ids_of(read(stage.ledger), "accept"):
                if not client.exists(stage.keys.record(id), stage.keys.message(id)):
                    stage.watcher.vanished.add(id)
        stage.host()

    def _crash(self, stage: Stage, word: str) -> None:
        stage.note("kill", word, stage.server.pid)
        stage.server.kill()
        if word == "machine":
            stage.server.keep_aof(self.disk.synced)
        stage.server.start()

    def _of_the_durable(self, entries: list[Entry]) -> list[Entry]:
        return [entry for entry in entries if entry.pid == self.durable]

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        entries = read(stage.ledger)
        kills = [entry for entry in entries if entry.event == "kill"]
        durable = ids_of(self._of_the_durable(entries), "accept")
        self.ages = {kill.word: 0.0 for kill in kills}
        self.lost = 0
        for entry in entries:
            if entry.event == "accept" and entry.id in set(found.lost) - durable:
                kill = next((kill for kill in kills if kill.at + _EDGE_S > entry.at), kills[-1])
                self.ages[kill.word] = max(self.ages[kill.word], kill.at - entry.at)
                self.lost += 1
        self.kept = len(durable - set(found.lost))
        if lost := sorted(durable & set(found.lost)):
            yield Complaint("undurable", f"{len(lost)} of {len(durable)} are lost, as {lost[:3]}")
        for word, age in self.ages.items():
            if age > OLDEST_S[word]:
                yield Complaint("age", f"the {word} lost what it had accepted {age:.1f} s before")
        if not all(self.ages.values()) or self.kept < 2 * 32:
            yield Complaint("idle", f"{self.lost} lost, {self.kept} kept: it shows nothing")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        ages = {f"{word}_lost_since": f"{age:.1f}s" for word, age in self.ages.items()}
        return {"relaxed_lost": str(self.lost), "fsync_kept": str(self.kept), **ages}
