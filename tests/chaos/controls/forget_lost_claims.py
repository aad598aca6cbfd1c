"""A worker that does not ask again for what a lost reply gave it, and whose beats keep all that it is said to hold."""

from __future__ import annotations

from typing import Any

from taskq.worker.engine import Engine
from tests.chaos.patching import replace


def apply() -> None:
    def forget(engine: Any) -> bool:
        engine._life.claimed(True)  # the next claim is another one
        return True

    replace(Engine, "_end_seq", lambda _: forget)
