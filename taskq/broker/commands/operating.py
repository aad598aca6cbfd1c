"""What people send: pause, resume, bound, purge, requeue, discard."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from taskq.broker.command import Command, whole
from taskq.broker.keys import Keys


@dataclass(frozen=True, slots=True)
class QueueEntry:
    """A queue's entry in the hash `queues`. `most` is how many tasks may be ready, None for any number."""

    paused: bool
    most: int | None


def parse_entry(data: bytes) -> QueueEntry:
    """Read an entry as the scripts do: what is none counts as on, and bounds nothing."""
    paused = data == b"paused" or data.startswith(b"paused|")
    bounds = re.fullmatch(rb"[A-Za-z]+\|(\d*)\|(\d*)", data)
    most = (bounds[2] or bounds[1]) if bounds else b""
    number = int(most) if most and len(most) < 16 else 0
    return QueueEntry(paused, number or None)


def pause(keys: Keys, queue: str) -> Command[int]:
    """Stop giving tasks of `queue`; it accepts more, and what runs goes on."""
    return Command("pause", keys.meta, (queue,), whole, keys.shard)


def resume(keys: Keys, queue: str) -> Command[int]:
    """Give tasks of `queue` again."""
    return Command("resume", keys.meta, (queue,), whole, keys.shard)


def bound(keys: Keys, queue: str, by: Literal["declared", "set"], most: int | None) -> Command[int]:
    """Bound how many tasks may be ready in `queue`: 0 is no bound, None says nothing; gives what counts, 0 for none.

    What people have `set` counts more than what code has `declared`.
    """
    words = (queue, by, "" if most is None else most)
    return Command("bound", keys.meta, words, whole, keys.shard)


def purge(keys: Keys, queue: str, priority: int, ttl_ms: int) -> Command[tuple[int, int]]:
    """Cancel up to 500 ready tasks of one list; gives (cancelled, left). The records stay `ttl_ms`."""
    return Command("purge", keys.meta, (f"{queue}:{priority}", ttl_ms), _as_pair, keys.shard)


def requeue(
    keys: Keys, old: str, queue: str, ttl_ms: int, new: str, list: str, message: bytes
) -> Command[int]:
    """Enqueue a dead letter's work as `new`: 1 done, 0 done before, -1 no such dead letter in `queue`."""
    return Command("requeue", keys.meta, (old, queue, ttl_ms, new, list, message), whole, keys.shard)


def discard(keys: Keys, queue: str, ids: Sequence[str] = ()) -> Command[tuple[int, int]]:
    """Remove dead letters with all they have, the 500 oldest without `ids`; gives (removed, left)."""
    return Command("discard", keys.meta, (queue, *ids), _as_pair, keys.shard)


def _as_pair(reply: Any) -> tuple[int, int]:
    return int(reply[0]), int(reply[1])
