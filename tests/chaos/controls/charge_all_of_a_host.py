"""A host that is lost charges a crash to all that it held, as brokers do that count deliveries."""

from __future__ import annotations

from tests.chaos.patching import alter

CHANGES = {"reap": [("c = started == '1' and not gone and c + 1 or c", "c = not gone and c + 1 or c")]}


def apply() -> None:
    alter(CHANGES)
