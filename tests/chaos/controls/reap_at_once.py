"""A sweeper that reaps whoever has not beaten since it last looked, however long it could not look itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from taskq.worker.sweeper import Sweeper
from tests.chaos.patching import replace

LONG_S = 2.0


def apply() -> None:
    replace(Sweeper, "stood_still", _hasty)


def _hasty(stood_still: Callable[..., dict[str, int]]) -> Callable[..., dict[str, int]]:
    looked: dict[Sweeper, float] = {}

    def hasty(sweeper: Sweeper, beats: Mapping[str, int], now: float) -> Any:
        before = looked.get(sweeper, now)
        looked[sweeper] = now
        return dict(beats) if now - before > LONG_S else stood_still(sweeper, beats, now)

    return hasty
