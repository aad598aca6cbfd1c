"""`enqueue` begins with a write that frees, so a full Redis lets all that follows pass."""

from __future__ import annotations

from tests.chaos.patching import alter

_FIRST = "redis.call('SET', message, ARGV[5])"
CHANGES = {"enqueue": [(_FIRST, f"redis.call('DEL', message) {_FIRST}")]}


def apply() -> None:
    alter(CHANGES)
