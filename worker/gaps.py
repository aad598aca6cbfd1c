"""Gaps: this process stood still, or its supervisor thinks so. What it holds unstarted may be another's by now."""

from __future__ import annotations

import time

from taskq.worker.holdings import Holdings
from taskq.worker.testimony import Testimony


class Gaps:
    """Looked for by the engine in each turn, and before it takes what came while it waited."""

    def __init__(self, lease_s: float, holdings: Holdings, testimony: Testimony) -> None:
        self._lease_s, self._holdings, self._testimony = lease_s, holdings, testimony
        self._looked = time.monotonic()
        holdings.revoked = testimony.revoked()
        self.found = False
        """True once there was one; who asks for what may lie unread for long clears it before."""

    def look(self, now: float) -> None:
        """Give back what has not started if there was a gap since the last look; `now` is monotonic."""
        gap, self._looked = now - self._looked, now
        if gap > self._lease_s / 2:
            # Paused, with the whole machine maybe: what we hold may be another's by now.
            self._return_unstarted(f"this process stood still for {gap:.1f} s")
        if (revoked := self._testimony.revoked()) != self._holdings.revoked:
            # It may have failed to return them, or not have seen the last claim: we return them, too.
            self._return_unstarted("the supervisor returns them, for this process did not answer")
            self._holdings.revoked = revoked

    def _return_unstarted(self, why: str) -> None:
        self._holdings.return_unstarted(why)
        self.found = True
