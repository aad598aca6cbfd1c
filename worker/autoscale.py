"""How many processes the work needs, between a least and a most number."""

from __future__ import annotations

from collections.abc import Callable

BUSY_S = 5.0
"""All slots busy for this long, with work ready: one process more."""

IDLE_S = 60.0
"""Slots enough for one process less for this long: one fewer."""


class Autoscale:
    """Decides from what runs; holds no clock of its own."""

    def __init__(self, least: int, most: int, concurrency: int) -> None:
        self.wanted = least
        self._least, self._most, self._concurrency = least, most, concurrency
        self._busy_since: float | None = None
        self._idle_since: float | None = None

    def look(self, running: int, work_is_ready: Callable[[], bool], now: float) -> int:
        """Give how many processes there should be, while `running` tasks run in all; `now` is monotonic."""
        slots = self.wanted * self._concurrency
        if running >= slots and self.wanted < self._most and work_is_ready():
            self._busy_since = self._busy_since or now
            self._idle_since = None
            if now - self._busy_since >= BUSY_S:
                self.wanted += 1
                self._busy_since = None
        elif self.wanted > self._least and running <= slots - self._concurrency:
            self._idle_since = self._idle_since or now
            self._busy_since = None
            if now - self._idle_since >= IDLE_S:
                self.wanted -= 1
                self._idle_since = None
        else:
            self._busy_since = self._idle_since = None
        return self.wanted
