"""The sweeper: takes back what processes held that stopped beating, and mends what nothing else would.

Every supervisor sweeps. By beat counter on our own monotonic clock, never by Redis's: a clock jump, or a pause
of Redis, must reap no one alive and hide no one dead.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence

from taskq.broker.client import Broker
from taskq.broker.command import text
from taskq.broker.commands import reading, working
from taskq.errors import BrokerError

log = logging.getLogger("taskq.worker")

_WALK = 500


class Sweeper:
    """Sweeps one shard, each few seconds."""

    def __init__(self, broker: Broker, lease_ms: int, queues: Sequence[str]) -> None:
        self._broker = broker
        self._keys = broker.keys[0]
        self._queues = tuple(queues)
        self._lease_s = lease_ms / 1_000
        self.every_s = min(5.0, max(0.25, self._lease_s / 6))
        self._seen: dict[str, tuple[int, float]] = {}
        self._swept = time.monotonic()
        self._cursor = "0"
        self._vanished = 0
        """How many tasks had vanished at the last look."""

    def sweep(self, ours: Collection[str], now: float) -> None:
        """Mend wrong types, reap who stood still for a lease, walk a stretch of the records, say what has vanished."""
        try:
            for tail in self._broker.call(working.mend(self._keys, self._queues)):
                log.error(
                    "the key %s%s had a wrong type and was moved to wrong:%s", self._keys.prefix, tail, tail
                )
            self._reap(ours, now)
            self._walk()
            self._count_vanished()
        except BrokerError as error:
            log.debug("no sweep: %s", error)

    def _reap(self, ours: Collection[str], now: float) -> None:
        if now - self._swept > 2 * self.every_s + 1:
            self._seen.clear()  # we were the ones who stood still
        self._swept = now
        for process, beats in self.stood_still(self._read(), now).items():
            if process in ours:
                continue
            left = self._broker.call(working.reap(self._keys, process, beats))
            if left >= 0:
                log.warning(
                    "process %s has not beaten for %.1f s: what it held went back", process, self._lease_s
                )
            while left > 0:
                left = self._broker.call(working.reap(self._keys, process, beats))

    def _read(self) -> dict[str, int]:
        beats = self._broker.call(working.beats(self._keys))
        for process in self._broker.call(working.processes(self._keys)):
            beats.setdefault(process, 0)
        return beats

    def stood_still(self, beats: Mapping[str, int], now: float) -> dict[str, int]:
        """Give those, with their counter, whose counter has not moved for a lease of our own clock."""
        self._seen = {
            process: seen
            if (seen := self._seen.get(process)) is not None and seen[0] == count
            else (count, now)
            for process, count in beats.items()
        }
        return {
            process: count for process, (count, since) in self._seen.items() if now - since > self._lease_s
        }

    def _walk(self) -> None:
        pattern = self._keys.record("*")
        cursor, names = self._broker.call(
            reading.read(self._keys, "SCAN", self._cursor, "MATCH", pattern, "COUNT", _WALK)
        )
        self._cursor = text(cursor)
        ids = [text(name).removeprefix(pattern[:-1]) for name in names]
        for start in range(0, len(ids), _WALK):
            mended = self._broker.call(working.reconcile(self._keys, ids[start : start + _WALK]))
            if mended:
                log.warning("%d record(s) that nothing pointed to were mended", mended)

    def _count_vanished(self) -> None:
        vanished = self._broker.call(reading.read(self._keys, "SCARD", self._keys.limbo))
        if vanished > self._vanished:
            log.error(
                "%d task(s) have vanished: neither record nor message is there; see `taskq doctor`", vanished
            )
        self._vanished = vanished
