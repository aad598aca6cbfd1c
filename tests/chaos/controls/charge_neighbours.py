"""A process that dies charges a crash to all that ran in it, as brokers do that count deliveries."""

from __future__ import annotations

from tests.chaos.patching import alter

CHANGES = {"settle": [("c, string.find(flags, 'c', 1, true) and flags or flags .. 'c')", "c + 1, flags)")]}


def apply() -> None:
    alter(CHANGES)
