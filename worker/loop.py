"""Async tasks: on the event loop of the process's main thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

from taskq.context import CURRENT
from taskq.errors import SoftTimeout
from taskq.middleware import Hook, arun
from taskq.worker.desk import Desk
from taskq.worker.job import Job
from taskq.worker.verdict import HardTimeout, Verdict


class LoopRunner:
    """Runs async jobs, up to `concurrency` at once; slots are numbered from `first_slot`."""

    def __init__(
        self, desk: Desk, concurrency: int, loop: asyncio.AbstractEventLoop, first_slot: int
    ) -> None:
        self.waiting: deque[Job] = deque()
        self._desk = desk
        self._loop = loop
        self._free = list(range(first_slot, first_slot + concurrency))
        self._tasks: dict[Job, asyncio.Task[None]] = {}
        self._interrupts: dict[Job, type[BaseException]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._pumping = False

    def offer(self, jobs: Sequence[Job]) -> None:
        """Take jobs over. Called by the engine's thread, as is all that is public here."""
        self.waiting.extend(jobs)
        self.nudge()

    def nudge(self) -> None:
        """Have the loop look at what waits."""
        if not self._pumping and self._free:
            self._pumping = True
            self._loop.call_soon_threadsafe(self._pump)

    def running(self) -> list[Job]:
        """What runs now."""
        return list(self._tasks)

    def interrupt(self, job: Job, error: type[BaseException]) -> None:
        """Raise `error` where the task awaits."""
        self._loop.call_soon_threadsafe(self._throw, job, error)

    def _throw(self, job: Job, error: type[BaseException]) -> None:
        task = self._tasks.get(job)
        if task is not None:
            if error is SoftTimeout:
                self._interrupts[job] = error
            task.cancel()

    def _pump(self) -> None:
        self._pumping = False
        while self._free:
            try:
                job = self.waiting.popleft()
            except IndexError:
                return
            slot = self._free.pop()
            if self._desk.admit(job, slot, begins=False):
                self._tasks[job] = self._loop.create_task(self._run(job, slot))
            else:
                self._free.append(slot)

    async def _run(self, job: Job, slot: int) -> None:
        desk, hooks, message = self._desk, self._desk.hooks, job.message
        desk.begin(job, slot)
        context = desk.context(job)
        CURRENT.set(context)
        value, error = None, None
        try:
            if (
                job.cancelled
            ):  # after it was admitted, before it was among `_tasks`: the interrupt found nothing
                raise asyncio.CancelledError  # noqa: TRY301 - it ends as any other
            if message.payload is not None:
                await asyncio.to_thread(desk.fetch, job)
            args, kwargs = job.task.codec.decode_call(message.args, message.kwargs, job.signed)
            if hooks.before_task:
                await arun(hooks.before_task, context)
            work = job.task.function(*args, **kwargs)
            value = await (_Interruptible(work, self._interrupts, job) if job.soft_ms else work)
        except BaseException as raised:  # noqa: BLE001 - SystemExit too: a task does not end its worker
            error = raised
        took = desk.leave(job, slot)
        self._tasks.pop(job, None)
        self._interrupts.pop(job, None)
        self._free.append(slot)
        if isinstance(error, asyncio.CancelledError) and not job.cancelled:
            error = (
                HardTimeout()
                if job.timed_out
                else RuntimeError("something that the task awaited was cancelled")
            )
        if hooks.after_task:
            await _told(hooks.after_task, context, value, error)
        verdict = desk.returned(job, value, took) if error is None else desk.raised(job, error, took)
        if verdict.aside is not None:
            verdict = await asyncio.to_thread(desk.store, job, verdict)
        news = desk.news(verdict)
        if news is not None:
            await _told(news.before, context, *news.args)
        desk.submit(job, verdict)
        if self.waiting:
            self._pump()
        if news is not None:
            await arun(news.after, context, *news.args)

    def tell(self, job: Job, verdict: Verdict) -> None:
        """Run the hooks for a job that failed without a run. Called by the engine's thread."""
        self._loop.call_soon_threadsafe(self._begin_telling, job, verdict)

    def _begin_telling(self, job: Job, verdict: Verdict) -> None:
        telling = self._loop.create_task(self._tell(job, verdict))
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)

    async def _tell(self, job: Job, verdict: Verdict) -> None:
        news = self._desk.news(verdict)
        if news is not None:
            context = self._desk.context(job)
            CURRENT.set(context)
            await arun((*news.before, *news.after), context, *news.args)


async def _told(hooks: Sequence[Hook], *args: Any) -> None:
    with contextlib.suppress(
        asyncio.CancelledError
    ):  # the task has ended: its verdict is given whatever a hook does
        await arun(hooks, *args)


class _Interruptible:
    """Awaits a coroutine such that a cancel can arrive in it as another exception: asyncio cannot throw one.

    `SoftTimeout` reaches the task this way, at the place where it awaits.
    """

    def __init__(
        self, work: Coroutine[Any, Any, Any], interrupts: dict[Job, type[BaseException]], job: Job
    ) -> None:
        self._work, self._interrupts, self._job = work, interrupts, job

    def __await__(self) -> Generator[Any, Any, Any]:
        work = self._work
        step: Callable[[Any], Any] = work.send
        arg: Any = None
        try:
            while True:
                awaited = step(arg)
                try:
                    step, arg = work.send, (yield awaited)
                except asyncio.CancelledError as cancelled:
                    interrupt = self._interrupts.pop(self._job, None)
                    if interrupt is not None:
                        task = asyncio.current_task()
                        if task is not None:
                            task.uncancel()
                    step, arg = work.throw, (interrupt() if interrupt else cancelled)
                except BaseException as error:  # noqa: BLE001 - whatever the awaited future raises belongs inside
                    step, arg = work.throw, error
        except StopIteration as end:
            return end.value
