"""`claim` gives to whoever asks, as BLPOP does: it does not look whether the process still has a lease."""

from __future__ import annotations

from tests.chaos.patching import alter

CHANGES = {
    "claim": [
        ("if type(lease) ~= 'string' or tonumber(lease) <= now then return { 'refused' } end", ""),
    ]
}


def apply() -> None:
    alter(CHANGES)
