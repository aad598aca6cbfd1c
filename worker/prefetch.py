"""How many tasks a process may claim: its free slots, and for short tasks some work ahead."""

from __future__ import annotations

from collections.abc import Sequence

from taskq.broker.commands.working import BATCH
from taskq.worker.job import LONG_S, Gauge, Job

AHEAD_S = 0.010
"""How much work is fetched ahead: about what one more round trip costs, so that no runner waits for it."""


class Prefetch:
    """Counts what one claim may take, from how long the tasks of the last claim take here.

    One long or unknown task among them, and only free slots are filled: what is prefetched behind it would wait.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._recent: tuple[Gauge, ...] = ()
        self._only_free = False

    def room(self, held: int) -> int:
        """How many tasks may be claimed while `held` are held; 0 or less: none."""
        free = self._concurrency - held
        if self._only_free or not self._recent:
            return free
        slowest = max(gauge.mean for gauge in self._recent)
        if slowest > LONG_S:
            return free
        most = min(BATCH, max(self._concurrency, int(AHEAD_S / max(slowest, 1e-5))))
        return most - held if held <= most // 2 else 0

    def took(self, jobs: Sequence[Job]) -> None:
        """Note a claim's tasks."""
        if jobs:
            self._recent = tuple({job.gauge for job in jobs})

    def released(self) -> None:
        """What was claimed had to go back: until a slot frees, claim for free slots only (else the two go round)."""
        self._only_free = True

    def freed(self) -> None:
        """A slot is free again."""
        self._only_free = False
