"""Jobs with `isolate="process"`: each has a thread that waits for its fork, and says what its death means."""

from __future__ import annotations

import asyncio
import logging
import os
import time

from taskq.broker.commands.working import Kind
from taskq.context import CURRENT
from taskq.errors import CrashedTooOften
from taskq.worker.desk import Desk
from taskq.worker.isolated.forks import Fork, Forks, ServerLost
from taskq.worker.isolated.wire import End, Order, Why
from taskq.worker.job import Job
from taskq.worker.offspring import how_it_ended
from taskq.worker.threads import Slot, ThreadRunner
from taskq.worker.verdict import HardTimeout, Verdict

log = logging.getLogger("taskq.worker")

_NET_S = 10.0
"""How long after a fork was to be killed the supervisor kills the whole process: the fork server stands still, too."""


class IsolatedRunner(ThreadRunner):
    """Runs jobs in forks, up to `concurrency` at once."""

    begins = False  # the fork server keeps their time

    def __init__(
        self,
        desk: Desk,
        concurrency: int,
        loop: asyncio.AbstractEventLoop,
        first_slot: int,
        forks: Forks,
        kill_after_ms: int,
    ) -> None:
        super().__init__(desk, concurrency, loop, first_slot)
        self._forks, self._kill_after_ms = forks, kill_after_ms
        self._runs: dict[Job, Fork] = {}

    def interrupt(self, job: Job, error: type[BaseException]) -> None:  # noqa: ARG002 - only a cancel comes here
        """Raise a cancel in the fork; it is killed if it does not end of it."""
        fork = self._runs.get(job)
        if fork is not None:
            self._forks.interrupt(fork, Why.CANCELLED, self._kill_after_ms)

    def _attempt(self, slot: Slot, job: Job) -> None:
        slot.job = job
        self._desk.leave_time_to_others(job, slot.number, _NET_S)
        try:
            verdict = self._run_apart(slot, job)
        except (OSError, ServerLost) as error:
            verdict = self._not_forked(job, error)
        if verdict is not None:
            self._end(slot, job, verdict)

    def _end(self, slot: Slot, job: Job, verdict: Verdict) -> None:
        """Report what this process knows of a job's end, by itself."""
        slot.job = None
        self._desk.leave(job, slot.number)
        context = self._desk.context(job)
        token = CURRENT.set(context)
        try:
            news = self._desk.news(verdict)
            if news is None:
                self._desk.submit(job, verdict)
            else:
                self._submit_news(job, context, verdict, news)
        finally:
            CURRENT.reset(token)

    def _run_apart(self, slot: Slot, job: Job) -> Verdict | None:
        """Have a fork run a job. Gives the verdict, unless that was the fork's to give, and is submitted.

        Raises:
            OSError, ServerLost: there is no fork.
        """
        desk = self._desk
        memory = job.task.options.max_memory
        fork = self._forks.make(job.soft_ms, job.hard_ms, self._kill_after_ms, memory)
        self._runs[job] = fork
        try:
            if (
                job.cancelled
            ):  # after it was admitted, before it was among `_runs`: the interrupt found nothing
                self.interrupt(job, asyncio.CancelledError)
            fork.give(self._order(job))
            while (word := fork.word()) is not None:
                if word.discard:
                    desk.discard(word.discard)
                    continue
                verdict = Verdict(word.kind, word.ms, word.took, word.outcome, still_runs=word.still_runs)
                if word.still_runs:
                    job.outcome_given = True
                else:
                    slot.job, fork.settled = None, True
                    desk.leave(job, slot.number)
                    self._forks.interrupt(fork, Why.SETTLED, self._kill_after_ms)
                desk.submit(job, verdict)
            if not fork.settled:  # it has ended, or can say nothing any more
                self._forks.interrupt(fork, Why.SETTLED, self._kill_after_ms)
            end = fork.end()
        finally:
            del self._runs[job]
            self._forks.forget(fork)
        return None if fork.settled else self._died(job, end)

    def _order(self, job: Job) -> Order:
        return Order(
            job.id,
            job.g,
            job.message,
            job.failures,
            job.crashes,
            job.process,
            job.signed,
            job.outcome_given,
            self._desk.zero_ms(),
        )

    # -- what its death means

    def _not_forked(self, job: Job, error: OSError | ServerLost) -> Verdict:
        desk, took = self._desk, time.monotonic() - job.started
        if isinstance(error, OSError):
            why = f"no process could be made for the task: {error.strerror}"
            return desk.raised(job, OSError(error.errno, why), took)
        if job.cancelled:
            return desk.judge.ended(job, Kind.CANCELLED, None, desk.started_ms(job), took)
        if error.alone:
            return self._crashed(job, "the fork server above its process was killed", took)
        return Verdict(Kind.SUSPECT, took=took)  # whichever of them did it: they run alone next

    def _died(self, job: Job, end: End) -> Verdict:
        desk, took = self._desk, time.monotonic() - job.started
        if end.errno:
            raise OSError(end.errno, os.strerror(end.errno))
        if job.cancelled:
            return desk.judge.ended(job, Kind.CANCELLED, None, desk.started_ms(job), took)
        if end.killed_for == Why.HARD:
            log.warning("%s %s did not heed its timeout: pid %d was killed", job.task.name, job.id, end.pid)
            return desk.raised(job, HardTimeout(), took)
        return self._crashed(job, f"its process (pid {end.pid}) ended {how_it_ended(end.code)}", took)

    def _crashed(self, job: Job, how: str, took: float) -> Verdict:
        desk, name, most = self._desk, job.task.name, job.task.options.max_crashes
        crashes = job.crashes + 1
        log.error("%s %s: %s before it had an outcome: crash %d of %d", name, job.id, how, crashes, most)
        if crashes < most or job.outcome_given:
            return Verdict(Kind.CRASHED, took=took)
        error = CrashedTooOften(f"{how}; its processes died {crashes} times while it ran")
        return desk.judge.ended(job, Kind.FAILED, error, desk.started_ms(job), took)
