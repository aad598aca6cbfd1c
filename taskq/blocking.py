"""Waiting for room in a full queue, by asking again.

Nobody is told of room: a claim would have to look for who waits, and every task would pay for that. Who asks does so
after some 20 ms, then 40, up to a second, so that a hundred who wait cost the server a hundred looks a second. They are
let in as they come, not in the order in which they began to wait.
"""

from __future__ import annotations

import time


class Patience:
    """Says how long calls that found their queue full wait still, and when to ask again."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew: one of them has found room."""
        self._since, self._tries = time.monotonic(), 0

    def lasts(self, block_s: float) -> bool:
        """True while a call that waits for so many seconds is to ask again."""
        return time.monotonic() - self._since < block_s

    def pause(self, block_s: float) -> float:
        """Give how many seconds to wait before that."""
        from taskq.broker.conversation import pause_after  # with the driver, which is loaded by now

        left = block_s - (time.monotonic() - self._since)
        self._tries += 1
        return min(pause_after(self._tries - 1), max(0.0, left))
