"""A claim that finds nothing behind an id drops it, as consumers do that skip a deleted message."""

from __future__ import annotations

from tests.chaos.patching import alter

CHANGES = {"misfits": [("redis.pcall('SADD', P .. 'limbo', id)", "id = nil")]}


def apply() -> None:
    alter(CHANGES)
