"""Runners that run a job where they are called, to its end: in a test, and in a process that is there for one run."""

from __future__ import annotations

import asyncio
import threading
import time

from taskq.context import CURRENT
from taskq.worker.desk import Desk
from taskq.worker.job import Job
from taskq.worker.loop import LoopRunner
from taskq.worker.threads import ThreadRunner


class HereRunner(ThreadRunner):
    """Runs sync jobs in the calling thread; a job that runs may have others run."""

    def __init__(self, desk: Desk, slots: int, loop: asyncio.AbstractEventLoop | None) -> None:
        super().__init__(desk, slots, loop)
        self._free = [*self._slots]
        self._threads = slots  # each slot may be in use, by whichever thread

    def run(self, job: Job) -> None:
        """Run one to its end."""
        slot = self._free.pop()
        slot.thread = threading.get_ident()
        try:
            if self._desk.admit(job, slot.number):
                self._attempt(slot, job)
        finally:
            self._free.append(slot)

    def fail(self, job: Job, error: BaseException) -> None:
        """Report a job that came to no run, or whose run came to no end."""
        context = self._desk.context(job)
        token = CURRENT.set(context)
        try:
            self._report(job, context, None, error, time.monotonic() - job.started if job.started else 0.0)
        finally:
            CURRENT.reset(token)


class AwaitedRunner(LoopRunner):
    """Runs async jobs on the running loop."""

    async def run(self, job: Job) -> None:
        """Run one to its end, in the current asyncio task."""
        slot = self._free.pop()
        if self._desk.admit(job, slot):
            task = asyncio.current_task()
            assert task is not None
            self._tasks[job] = task
            await self._run(job, slot)
        else:
            self._free.append(slot)
