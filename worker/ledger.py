"""What the worker says of its work: one line a batch of successes, a line for each loss.

Failures and retries are logged where they happen, by `taskq.middleware.FailureLog`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from taskq.broker.commands.working import COMMITTED, RELEASED, SUCCEEDED, Answer, Kind
from taskq.frame import READS_FRAME
from taskq.signing import KNOWS_KEY
from taskq.worker.job import Job
from taskq.worker.verdict import Verdict

log = logging.getLogger("taskq.worker")

_APART_S = 1.0


class Ledger:
    """Counts outcomes as they are committed, and logs them. Batches that come fast share a line."""

    def __init__(self, log_tasks: bool) -> None:
        self.settled = 0
        """Tasks that this process has settled, all kinds but releases."""
        self._log_tasks = log_tasks
        self._successes = 0
        self._slowest: tuple[float, str] = (0.0, "")
        self._since = self._said = time.monotonic()

    def settle(self, sent: Sequence[tuple[Job, Verdict]], answers: Sequence[Answer]) -> None:
        """Note what a settle answered."""
        for (job, verdict), answer in zip(sent, answers, strict=True):
            if verdict.kind is RELEASED:
                continue
            self.settled += 1
            if answer is not COMMITTED:
                continue
            if verdict.kind is not SUCCEEDED:
                _say(job, verdict)
            elif self._log_tasks:
                log.info("%s %s succeeded in %.1f ms", job.task.name, job.id, verdict.took * 1_000)
            else:
                if not self._successes:
                    self._since = time.monotonic()
                self._successes += 1
                if verdict.took >= self._slowest[0]:
                    self._slowest = (verdict.took, job.task.name)
        self.say()

    def say(self, at_once: bool = False) -> None:
        """Log the successes since the last line, if there are any and the last line is a moment ago."""
        now = time.monotonic()
        if not self._successes or (now - self._said < _APART_S and not at_once):
            return
        seconds, name = self._slowest
        rate = f" ({self._successes / (now - self._since):.0f}/s)" if now - self._since > _APART_S / 2 else ""
        log.info("%d succeeded%s, slowest %s in %.1f ms", self._successes, rate, name, seconds * 1_000)
        self._successes, self._slowest = 0, (0.0, "")
        self._said = now

    def lost(self, job: Job) -> None:
        """Another process owns the task, or its record is gone: what this run did is not committed."""
        log.warning(
            "%s %s was lost: its lease had run out, another process has it; nothing was written",
            job.task.name,
            job.id,
        )


def _say(job: Job, verdict: Verdict) -> None:
    if verdict.kind in (Kind.CANCELLED, Kind.EXPIRED):
        log.info("%s %s %s", job.task.name, job.id, verdict.kind.name.lower())
    elif verdict.kind is Kind.RETRY and verdict.still_runs:
        log.warning(
            "%s %s gave itself back by nack(); again in %.1f s", job.task.name, job.id, verdict.ms / 1_000
        )
    elif verdict.kind is Kind.FAILED and verdict.still_runs:
        log.error(
            "%s %s failed for good: it gave itself back by nack() once too often", job.task.name, job.id
        )


_warned: set[str] = set()
"""Tasks of other apps that were warned of."""


def say_parked(id: str, task: str, answer: str) -> None:
    """Tell of a task that is unknown here, or cannot be read; `answer` is what `park` said of it."""
    if task.startswith((KNOWS_KEY, READS_FRAME)):
        return  # the intake has said it
    if answer == "a" and task not in _warned:
        _warned.add(task)
        log.warning(
            "task %s is not of this app, though its queue is served here: each such task costs a second; "
            "give every app a queue or a namespace of its own",
            task,
        )
    if answer == "p":
        log.warning("task %s (%s) is unknown to every live worker: parked until one registers it", id, task)
