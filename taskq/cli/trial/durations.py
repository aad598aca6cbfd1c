"""Many durations in two figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Milliseconds(msgspec.Struct, frozen=True):
    """The middle of many durations, and what one in a hundred is above."""

    p50: float
    p99: float


def percentiles(durations_ms: Sequence[float]) -> Milliseconds:
    """Give both by the nearest rank; 0 of nothing."""
    ranked = sorted(durations_ms) or [0.0]
    return Milliseconds(*(round(ranked[math.ceil(len(ranked) * share) - 1], 3) for share in (0.50, 0.99)))
