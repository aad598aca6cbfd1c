"""Soft and hard timeouts and cancels of what runs in this process. The supervisor kills what they do not end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskq.errors import SoftTimeout
from taskq.worker.job import Job
from taskq.worker.verdict import CancelRequested, HardTimeout

if TYPE_CHECKING:
    from taskq.worker.holdings import Runner

KILL_AFTER_S = 3.0
"""How long a task may outlive its hard timeout: one that sits in C code is not reached by an exception."""


class Timeouts:
    """Looks at what runs, as often as the shortest timeout at hand needs."""

    def __init__(self, *runners: Runner) -> None:
        self._runners = runners
        self._every = 1.0
        self._checked = 0.0
        self._quiet = False
        """True if the last look found nothing."""

    def expect(self, jobs: Sequence[Job]) -> None:
        """Note jobs that are about to start: the shortest of their timeouts sets the pace."""
        self._quiet = False
        for job in jobs:
            for ms in (job.hard_ms, job.soft_ms):
                if ms is not None and ms < self._every * 4_000:
                    self._every = max(0.005, ms / 4_000)

    def next_check(self, now: float, most: float) -> float:
        """Seconds until `check` should be called again, at most `most`."""
        return min(most, max(0.0, self._checked + self._every - now)) if self._any() else most

    def check(self, now: float) -> None:
        """Interrupt what has run for too long, if it is time to look."""
        if now - self._checked >= self._every:
            self.look(now)

    def look(self, now: float) -> None:
        """Interrupt what has run for too long."""
        self._checked = now
        busy = False
        for runner in self._runners:
            for job in runner.running():
                busy = True
                if job.slot < 0:
                    continue  # a neighbour holds up the loop before its first step; or others keep its time
                ran_ms = (now - job.started) * 1_000
                if job.hard_ms and ran_ms >= job.hard_ms and not job.timed_out:
                    job.timed_out = True
                    runner.interrupt(job, HardTimeout)
                elif job.soft_ms and ran_ms >= job.soft_ms:
                    job.soft_ms = None
                    runner.interrupt(job, SoftTimeout)
        if busy or any(runner.waiting for runner in self._runners):
            self._quiet = False
        elif self._quiet:
            self._every = 1.0
        else:
            self._quiet = True  # a job on its way from a deque to its slot is seen in neither: look once more

    def cancel(self, job: Job) -> None:
        """Interrupt a job that somebody cancelled; one that has not started sees the mark when it would."""
        for runner in self._runners:
            if job in runner.running():
                runner.interrupt(job, asyncio.CancelledError if job.task.is_async else CancelRequested)

    def _any(self) -> bool:
        return any(runner.waiting or runner.running() for runner in self._runners)


def kill_at_ms(job: Job, after_s: float = KILL_AFTER_S) -> int:
    """The instant of CLOCK_MONOTONIC, in ms, from which the supervisor may kill for `job`; 0 for never."""
    if not job.hard_ms:
        return 0
    return int((job.started + after_s) * 1_000) + job.hard_ms
