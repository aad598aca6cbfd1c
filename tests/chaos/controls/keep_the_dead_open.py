"""A supervisor that keeps open what it had of each process: its channel, and the page that both share."""

from __future__ import annotations

from taskq.worker.offspring import Offspring
from tests.chaos.patching import replace


def apply() -> None:
    kept: list[Offspring] = []

    def keep(child: Offspring) -> None:
        kept.append(child)

    replace(Offspring, "close", lambda _: keep)
