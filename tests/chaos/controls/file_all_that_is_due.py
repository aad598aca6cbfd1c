"""`claim` files 5,000 of those that are due in one call, as those do who ZRANGEBYSCORE without a LIMIT."""

from __future__ import annotations

from tests.chaos.patching import alter

CHANGES = {"claim": [("'BYSCORE', 'LIMIT', 0, 64", "'BYSCORE', 'LIMIT', 0, 5000")]}


def apply() -> None:
    alter(CHANGES)
