"""Unique keys that are locks with a time to live, which a task may outlive, as celery-once and others have them."""

from __future__ import annotations

from tests.chaos.patching import alter

CHANGES = {
    "enqueue": [
        (
            "redis.call('SET', P .. 'u:' .. extra.key, extra.id)",
            "redis.call('SET', P .. 'u:' .. extra.key, extra.id, 'PX', 100)",
        )
    ]
}


def apply() -> None:
    alter(CHANGES)
