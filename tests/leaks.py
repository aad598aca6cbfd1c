"""Which keys a namespace may leave behind: without TTL, those that `broker/keys.py` lists as permanent."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

import redis

from taskq.broker.keys import PERMANENT, Keys

WORK = ("held:*", "t:*", "b:*", "u:*", "x:*")
"""Tails of keys that may have no TTL only while there is work: after a test marked `leaves_work`."""


def leaks(ttls: Mapping[str, int], *, leaves_work: bool) -> list[str]:
    """Give the keys that should not be there.

    Args:
        ttls: each key's PTTL, where −1 means that it never goes.
        leaves_work: whether tasks may be left unfinished.
    """
    allowed = PERMANENT + WORK if leaves_work else PERMANENT
    return sorted(key for key, ttl in ttls.items() if ttl == -1 and not _matches(_tail(key), allowed))


def ttls_of(client: redis.Redis, namespace: str) -> dict[str, int]:
    """Give the PTTL of each key of `namespace`, on every shard."""
    keys = _keys_of(client, namespace)
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.pttl(key)
        ttls = pipeline.execute()
    return {key.decode(errors="backslashreplace"): int(ttl) for key, ttl in zip(keys, ttls, strict=True)}


def leftovers(client: redis.Redis, keys: Keys) -> list[str]:
    """Give what must not be there once no task is left and no worker runs: leases, holds, keys without TTL."""
    ttls = ttls_of(client, keys.namespace)
    found = {key for key in ttls if key.startswith((keys.held(""), keys.prefix + "q:"))}
    found |= {key for key in (keys.processes, keys.beats, keys.agenda) if key in ttls}
    return sorted(found | set(leaks(ttls, leaves_work=False)))


def forget(client: redis.Redis, namespace: str) -> None:
    """Delete all that `namespace` has."""
    if keys := _keys_of(client, namespace):
        client.delete(*keys)


def _keys_of(client: redis.Redis, namespace: str) -> list[bytes]:
    return list(client.scan_iter(match=f"tq:{{{namespace}:*", count=1000))


def _tail(key: str) -> str:
    return key.partition("}:")[2]


def _matches(tail: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(tail, pattern) for pattern in patterns)
