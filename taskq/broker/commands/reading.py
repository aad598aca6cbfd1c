"""Plain reads: what handles and listings look at. None of them writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskq.broker.command import Command, same, text
from taskq.broker.keys import Keys
from taskq.names import is_name


def lookup(keys: Keys, ids: Sequence[str]) -> Command[list[tuple[bytes | None, bytes | None]]]:
    """Read (record, message) of each id; each may be None."""
    words = [key for id in ids for key in (keys.record(id), keys.message(id))]
    return Command("MGET", "", words, _as_pairs, keys.shard)


def _as_pairs(reply: Any) -> list[tuple[bytes | None, bytes | None]]:
    return [(reply[i], reply[i + 1]) for i in range(0, len(reply), 2)]


def registered_queue(keys: Keys, task: str) -> Command[str]:
    """Read the queue that workers have registered for a task; "" if they have not, or what stands there names none."""
    return Command("HGET", "", (keys.tasks, task), _as_queue, keys.shard)


def _as_queue(reply: bytes | None) -> str:
    queue = text(reply or b"").partition("|")[0]
    return queue if is_name(queue) else ""


def read(keys: Keys, name: str, *args: str | int) -> Command[Any]:
    """Any other read by its Redis name; the reply comes as it is."""
    return Command(name, "", args, same, keys.shard)
