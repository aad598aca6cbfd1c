"""`settle` commits for whoever asks, as XACK does: it does not look whose the task is."""

from __future__ import annotations

from tests.chaos.patching import alter

CHANGES = {"settle": [("elseif string.sub(record, 2, #fence + 1) ~= fence then", "elseif false then")]}


def apply() -> None:
    alter(CHANGES)
