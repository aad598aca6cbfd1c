"""Watches the server through a run: which tasks have ended, and whether one does so twice."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from taskq.broker.keys import Keys
from tests.chaos.checker import AT_REST, ENDED
from tests.chaos.ledger import Follower

_CHUNK = 500
_EVERY_S = 0.25


class Watcher:
    """Looks every quarter of a second, from a thread of its own, until the body of the `with` ends.

    It reads raw records and the stream of recent outcomes by its own connection: no code of taskq's but the names of
    the keys.
    """

    def __init__(self, client: redis.Redis, keys: Keys, ledger: Path) -> None:
        self.accepted: set[str] = set()
        self.states: dict[str, str] = {}
        """The letter of each record when it was last looked at, of those accepted."""
        self.seen: dict[str, list[str]] = {}
        """`state|g` of those that have ended, each way once."""
        self.outcomes: Counter[str] = Counter()
        """Final outcomes in the stream."""
        self.moved = time.monotonic()
        """When anything was last written to the ledger."""
        self.vanished: set[str] = set()
        """Ids that a scenario knows to be gone from the server: nobody waits for their end."""
        self.starts = 0
        self._client, self._keys, self._follower = client, keys, Follower(ledger)
        self._last = "0"
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(10)
        self._client.close()

    def look(self, *, again: bool = False) -> None:
        """Look now; with `again`, also at those that were seen to have ended.

        Raises:
            redis.RedisError: the server did not answer.
        """
        with self._lock:
            for entry in self._follower.news():
                self.moved = time.monotonic()
                self.starts += entry.event == "start"
                if entry.event == "accept":
                    self.accepted.add(entry.id)
            wanted = self.accepted if again else self.accepted - self.seen.keys()
            self._note(self._read(wanted))
            self._outcomes()

    def at_rest(self) -> bool:
        """True if each task that was accepted had ended, or was parked, at the last look."""
        return all(self.states.get(id) in AT_REST for id in self.accepted - self.vanished)

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            with contextlib.suppress(redis.RedisError):
                self.look()

    def _read(self, ids: Collection[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        listed = list(ids)
        for at in range(0, len(listed), _CHUNK):
            some = listed[at : at + _CHUNK]
            records: Any = self._client.mget([self._keys.record(id) for id in some])
            found |= {id: bytes(record) if record else b"" for id, record in zip(some, records, strict=True)}
        return found

    def _note(self, records: Mapping[str, bytes]) -> None:
        for id, record in records.items():
            state, g = record.split(b"|", 2)[:2] if record else (b"", b"")
            self.states[id] = state.decode()
            if self.states[id] in ENDED:
                way = f"{self.states[id]}|{g.decode()}"
                ways = self.seen.setdefault(id, [])
                if way not in ways:
                    ways.append(way)

    def _outcomes(self) -> None:
        while entries := self._stream():
            for at, fields in entries:
                self._last = at.decode()
                for line in fields[b"d"].decode().splitlines():
                    state, id, _ = line.split(" ", 2)
                    self.outcomes[id] += state in ENDED

    def _stream(self) -> list[Any]:
        reply: Any = self._client.xread({self._keys.recent: self._last}, count=1_000)
        return reply[0][1] if reply else []
