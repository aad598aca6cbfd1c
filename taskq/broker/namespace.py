"""What a client knows of its namespace: the keys of each shard, that `meta` is there, and Redis's clock."""

from __future__ import annotations

import logging
import time

from taskq.broker.command import Steps
from taskq.broker.commands import producing, reading
from taskq.broker.keys import Keys
from taskq.errors import FormatMismatch
from taskq.names import check_name, shard_of

log = logging.getLogger("taskq.broker")


class Namespace:
    """One namespace as one client sees it. Safe for threads: what races here only repeats a harmless command."""

    def __init__(self, name: str, shards: int) -> None:
        check_name("the namespace", name)
        self.name = name
        self.shards = shards
        self.keys = tuple(Keys(name, shard) for shard in range(shards))
        self._met: set[int] = set()
        self._offset_ms: float | None = None

    def keys_of(self, id: str) -> Keys:
        """The keys of the shard that `id` lives on."""
        return self.keys[shard_of(id, self.shards)]

    def knows(self, shard: int) -> bool:
        """True once the shard's `meta` was seen by this client."""
        return shard in self._met

    def meet(self, shard: int) -> Steps[None]:
        """First contact with a shard: make its `meta` if it is absent, hold it against ours, read the clock.

        Raises:
            FormatMismatch: another format, or another number of shards, is in use there.
        """
        version, shards = yield producing.init(self.keys[shard], self.shards)
        if (version, shards) != ("1", str(self.shards)):
            raise FormatMismatch(
                f"namespace {self.name!r} has format {version} and {shards} shard(s); this client has format 1 and "
                f"{self.shards}. Use the release that wrote it, or another namespace"
            )
        seconds, micros = yield reading.read(self.keys[shard], "TIME")
        self.hear(int(seconds) * 1_000 + int(micros) // 1_000)
        self._met.add(shard)

    def lost(self, shard: int) -> None:
        """Note that a `meta` we had seen is gone, so that the next command meets the shard anew."""
        if shard in self._met:
            log.error(
                "namespace %r has lost its meta: the server lost its data or was flushed; what waited there is gone",
                self.name,
            )
            self._met.discard(shard)

    def hear(self, now_ms: int) -> None:
        """Take Redis time from a reply."""
        self._offset_ms = now_ms - time.monotonic() * 1_000

    def now_ms(self) -> int:
        """Redis time as of the last reply that carried it, carried on by our monotonic clock; 0 before the first."""
        return self.at_ms(time.monotonic())

    def at_ms(self, instant: float) -> int:
        """Redis time at an instant of our monotonic clock, in seconds; 0 before the first reply that carried it."""
        return 0 if self._offset_ms is None else round(self._offset_ms + instant * 1_000)
