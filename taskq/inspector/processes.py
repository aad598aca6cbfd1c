"""Worker processes, and the tasks that they know."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from taskq.broker.command import Steps, text
from taskq.broker.commands.reading import read
from taskq.broker.keys import Keys
from taskq.frame import READS_FRAME
from taskq.inspector.listing import known_processes
from taskq.inspector.places import score_ms
from taskq.inspector.scan import Budget, hash_pairs, redis_now_ms, tolerant
from taskq.signing import KNOWS_KEY


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One life of one worker process, and what it said of itself. What it did not say is None.

    `lease_ms` is how long its lease still holds; None: it has none any more, and a sweep takes back what it
    holds. `holds` is how many tasks it runs or is about to.
    """

    id: str
    lease_ms: int | None
    holds: int
    name: str | None = None
    host: str | None = None
    pid: int | None = None
    app: str | None = None
    version: str | None = None
    queues: list[str] = []
    concurrency: int | None = None
    started_ms: int | None = None


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """A task that workers have registered. `processes` is how many that live know it."""

    name: str
    queue: str
    registered_ms: int | None
    processes: int


def processes(shards: Sequence[Keys], budget: Budget | None = None) -> Steps[list[Process]]:
    """List the worker processes that are known; a process works on all shards and is listed once."""
    budget = budget or Budget()
    found: dict[str, Process] = {}
    for keys in shards:
        now_ms = yield from redis_now_ms(keys)
        for name in (yield from known_processes(keys, budget)):
            here = yield from _process(keys, name, now_ms)
            before = found.get(name)
            held = here.holds + before.holds if before else here.holds
            found[name] = msgspec.structs.replace(here, holds=held)
            if budget.late:
                break
    return sorted(found.values(), key=lambda one: (one.host or "", one.started_ms or 0, one.id))


def _process(keys: Keys, name: str, now_ms: int) -> Steps[Process]:
    lease = yield from tolerant(read(keys, "ZSCORE", keys.processes, name), None)
    ends_ms = score_ms(lease) if lease else None
    info = yield from tolerant(read(keys, "GET", keys.info(name)), None)
    held = yield from tolerant(read(keys, "HLEN", keys.held(name)), 0)
    counted = held and (yield from tolerant(read(keys, "HEXISTS", keys.held(name), "#"), 0))
    return Process(
        id=name,
        lease_ms=ends_ms - now_ms if ends_ms is not None and ends_ms > now_ms else None,
        holds=int(held) - bool(counted),
        **_described(info),
    )


_KINDS: dict[str, type] = {
    "name": str,
    "host": str,
    "pid": int,
    "app": str,
    "version": str,
    "concurrency": int,
    "started_ms": int,
}


def _described(info: bytes | None) -> dict[str, Any]:
    """Take what can be used of what a process said of itself; another release, or a stranger, wrote it."""
    try:
        said: dict[str, Any] = msgspec.msgpack.decode(info or b"", type=dict[str, Any])
    except (ValueError, RecursionError):
        return {}
    known = {name: said[name] for name, kind in _KINDS.items() if type(said.get(name)) is kind}
    with suppress(msgspec.ValidationError):
        known["queues"] = msgspec.convert(said.get("queues", []), list[str])
    return known


def registered(shards: Sequence[Keys], budget: Budget | None = None) -> Steps[list[Registered]]:
    """List the tasks that workers have registered. All shards are told the same, so the first one answers."""
    budget = budget or Budget()
    keys = shards[0]
    leased: list[bytes] = yield from tolerant(read(keys, "ZRANGE", keys.processes, 0, 9_999), [])
    alive = set(leased)
    found: list[Registered] = []
    for field, value in (yield from hash_pairs(keys, keys.tasks, budget)):
        name = text(field)
        if name.startswith((KNOWS_KEY, READS_FRAME)):
            continue
        queue, _, since = text(value).partition("|")
        knowing = yield from tolerant(read(keys, "SMEMBERS", keys.knows(name)), [])
        found.append(
            Registered(
                name=name,
                queue=queue,
                registered_ms=int(since) if since.isdecimal() and len(since) < 16 else None,
                processes=len(alive.intersection(knowing)),
            )
        )
        if budget.late:
            break
    return sorted(found, key=lambda task: task.name)
