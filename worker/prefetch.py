"""How many tasks a process may claim: its free slots, and for short tasks some work ahead."""

from __future__ import annotations

from collections.abc import Sequence

from taskq.broker.commands.working import BATCH, BATCH_BYTES
from taskq.worker.job import LONG_S, Gauge, Job

AHEAD_S = 0.010
"""How much work is fetched ahead: a few round trips' worth, so that no slot waits for one."""

AHEAD_BYTES = 4 * BATCH_BYTES
"""What is fetched ahead takes about this much memory at most."""


class Prefetch:
    """Counts what one claim may take, from how long the tasks of the last claim take here, and how fast they end.

    One long or unknown task among them, and only free slots are filled: what is prefetched behind it would wait.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._recent: tuple[Gauge, ...] = ()
        self._most = 2 * BATCH
        """How many of the size of the last claim's tasks may be fetched ahead."""
        self._only_free = False
        self._pace = 0.0
        """How many tasks ended in `AHEAD_S`, lately."""
        self._ended, self._since = 0, 0.0

    def room(self, held: int) -> int:
        """How many tasks may be claimed while `held` are held; 0 or less: none."""
        free = self._concurrency - held
        if self._only_free or not self._recent:
            return free
        slowest = max(gauge.mean for gauge in self._recent)
        if slowest > LONG_S:
            return free
        ahead = self._ahead(max(slowest, 1e-5))
        room = free + ahead
        return min(BATCH, room) if 2 * room >= ahead else 0  # not for every task that ends a claim of its own

    def _ahead(self, slowest: float) -> int:
        """So much that one slot needs `AHEAD_S` for it; more if all slots together are seen to be faster.

        What holds the interpreter is no faster in eight slots than in one, what waits is.
        """
        alone = AHEAD_S / slowest
        ahead = max(alone, min(self._pace, self._concurrency * alone))
        return max(1, min(self._most, int(ahead)))

    def took(self, jobs: Sequence[Job]) -> None:
        """Note a claim's tasks."""
        if jobs:
            self._recent = tuple({job.gauge for job in jobs})
            size = sum(len(job.message.args) + len(job.message.kwargs) for job in jobs)
            self._most = min(2 * BATCH, AHEAD_BYTES * len(jobs) // max(size, 1))

    def released(self) -> None:
        """What was claimed had to go back: until a slot frees, claim for free slots only (else the two go round)."""
        self._only_free = True

    def freed(self, ended: int, now: float) -> None:
        """Slots are free again, for so many tasks have ended; `now` is monotonic."""
        self._only_free = False
        self._ended += ended
        if (passed := now - self._since) >= AHEAD_S:
            self._pace = self._ended * AHEAD_S / passed
            self._ended, self._since = 0, now
