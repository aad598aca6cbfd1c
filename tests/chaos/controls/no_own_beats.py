"""A process that never beats for itself: while its supervisor stands still, nobody extends its lease."""

from __future__ import annotations

from taskq.worker.life import Life
from tests.chaos.patching import replace


def apply() -> None:
    replace(Life, "must_beat", lambda _: lambda *_: False)
