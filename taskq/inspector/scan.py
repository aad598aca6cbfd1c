"""How a namespace of any size, with anything in it, is looked at: within a budget, and past wrong types."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TypeVar

from taskq.broker.command import Command, Steps, text
from taskq.broker.commands.reading import lookup, read
from taskq.broker.keys import Keys
from taskq.errors import BrokerError
from taskq.names import is_id

T = TypeVar("T")

_PAGE_BYTES = 4 << 20
_LARGEST_PAGE = 500
_SCAN_COUNT = 1_000


class Budget:
    """How much one look may cost: entries looked at, and seconds of our monotonic clock."""

    def __init__(self, looks: int = 10_000, seconds: float = 2.0) -> None:
        self.looked = 0
        self._looks = looks
        self._until = time.monotonic() + seconds
        self._page = 50

    @property
    def spent(self) -> bool:
        """True when the look must end, whatever is left."""
        return self.looked >= self._looks or self.late

    @property
    def late(self) -> bool:
        """True when its time is over."""
        return time.monotonic() >= self._until

    @property
    def page(self) -> int:
        """How many entries the next page may have."""
        return max(1, min(self._page, self._looks - self.looked))

    def saw(self, entries: int, size: int) -> None:
        """Count entries, and let pages grow or shrink so that one is some MiB of messages at most."""
        self.looked += entries
        if entries:
            fitting = _PAGE_BYTES * entries // (size + 1)
            self._page = max(1, min(_LARGEST_PAGE, 4 * self._page, fitting))

    def share(self, parts: int) -> Budget:
        """Give a budget of one of `parts` equal parts of what is left."""
        seconds = max(0.0, self._until - time.monotonic())
        return Budget(max(1, (self._looks - self.looked) // parts), seconds / parts)


def tolerant(command: Command[T], instead: T) -> Steps[T]:
    """Give the reply of a read; `instead` where the key has a wrong type, or holds what cannot be read."""
    try:
        reply: T = yield command
    except BrokerError as error:
        if "WRONGTYPE" not in str(error):
            raise
        return instead
    except ValueError:
        return instead
    return reply


def redis_now_ms(keys: Keys) -> Steps[int]:
    """Read Redis's clock."""
    seconds, micros = yield read(keys, "TIME")
    return int(seconds) * 1_000 + int(micros) // 1_000


def pairs_of(keys: Keys, ids: Sequence[str]) -> Steps[dict[str, tuple[bytes | None, bytes | None]]]:
    """Read record and message of each id that may be one; of no other id there is an entry."""
    good = [task_id for task_id in ids if is_id(task_id)]
    if not good:
        return {}
    pairs: list[tuple[bytes | None, bytes | None]] = yield lookup(keys, good)
    return dict(zip(good, pairs, strict=True))


def records_of(keys: Keys, ids: Sequence[str]) -> Steps[dict[str, bytes | None]]:
    """Read the record of each id that may be one; of no other id there is an entry."""
    good = [task_id for task_id in ids if is_id(task_id)]
    if not good:
        return {}
    records: list[bytes | None] = yield read(keys, "MGET", *map(keys.record, good))
    return dict(zip(good, records, strict=True))


def hash_pairs(keys: Keys, key: str, budget: Budget) -> Steps[list[tuple[bytes, bytes]]]:
    """Read a hash in steps, until the budget is spent."""
    pairs: dict[bytes, bytes] = {}
    cursor = "0"
    while True:
        reply = yield from tolerant(read(keys, "HSCAN", key, cursor, "COUNT", _SCAN_COUNT), [b"0", []])
        cursor, flat = text(reply[0]), reply[1]
        pairs.update(zip(flat[::2], flat[1::2], strict=True))
        budget.saw(len(flat) // 2, 0)
        if cursor == "0" or budget.spent:
            return list(pairs.items())


def tails(keys: Keys, start: str, kind: str, budget: Budget) -> Steps[list[str]]:
    """Find the keys of one Redis type that begin with `start`, while there is time; gives their ends."""
    found: set[str] = set()
    cursor = "0"
    while True:
        page, cursor = yield from tails_page(keys, start, kind, cursor)
        found.update(page)
        if cursor == "0" or budget.late:
            return sorted(found)


def tails_page(keys: Keys, start: str, kind: str, cursor: str) -> Steps[tuple[list[str], str]]:
    """One step of `tails`: what it found, and the cursor of the next, "0" after the last."""
    prefix = keys.prefix + start
    # MATCH reads no part of a prefix as a pattern: a namespace has no such characters.
    reply = yield read(keys, "SCAN", cursor, "MATCH", prefix + "*", "COUNT", _SCAN_COUNT, "TYPE", kind)
    return [text(key)[len(prefix) :] for key in reply[1]], text(reply[0])
