"""`enqueue` that looks at no bound of a queue, as a queue has none elsewhere."""

from __future__ import annotations

from tests.chaos.patching import alter

CHANGES = {"enqueue": [("queue.ready >= queue.most then", "false then")]}


def apply() -> None:
    alter(CHANGES)
