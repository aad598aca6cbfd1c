"""Sync tasks: threads that are started as needed and take from the deque themselves."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue

from taskq.context import CURRENT, TaskContext
from taskq.middleware import run as run_hooks
from taskq.worker.desk import Desk, News
from taskq.worker.job import BRISK_S, Job
from taskq.worker.verdict import CancelRequested, Verdict


class Slot:
    """One thread's place. The lock closes the window in which an exception may be raised in its task."""

    __slots__ = ("interrupted", "job", "lock", "number", "thread")

    def __init__(self, number: int) -> None:
        self.number = number
        self.thread = 0
        self.job: Job | None = None
        self.interrupted = False
        self.lock = threading.Lock()


class ThreadRunner:
    """Runs sync jobs on up to `concurrency` threads; slots are numbered from `first_slot`.

    A job that takes no time needs no second thread: one is woken only for what is long, unknown or has waited.
    """

    begins = True
    """Whether a job's time runs from its admission on."""

    def __init__(
        self, desk: Desk, concurrency: int, loop: asyncio.AbstractEventLoop | None, first_slot: int = 0
    ) -> None:
        self.waiting: deque[Job] = deque()
        self._desk = desk
        self._loop = loop
        self._slots = [Slot(first_slot + number) for number in range(concurrency)]
        self._threads = 0
        self._idle = 0
        self._wake: SimpleQueue[None] = SimpleQueue()
        """A semaphore that is C throughout: what waits for it is awake one bytecode later."""
        self._starting = threading.Lock()

    def offer(self, jobs: Sequence[Job]) -> None:
        """Take jobs over."""
        self.waiting.extend(jobs)
        self.nudge()

    def nudge(self) -> None:
        """Wake a thread, or start one."""
        if self._idle > 0:
            self._wake.put(None)
            return
        with self._starting:  # the engine and the threads call this
            if self._threads == len(self._slots):
                return
            slot = self._slots[self._threads]
            self._threads += 1
        self._wake.put(None)
        threading.Thread(target=self._run, args=(slot,), name=f"taskq-{slot.number}", daemon=True).start()

    def running(self) -> list[Job]:
        """What runs now."""
        return [job for slot in self._slots[: self._threads] if (job := slot.job) is not None]

    def interrupt(self, job: Job, error: type[BaseException]) -> None:
        """Raise `error` in the thread that runs `job`, when it next runs Python code."""
        for slot in self._slots[: self._threads]:
            with slot.lock:
                if slot.job is job:
                    slot.interrupted = True
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(slot.thread), ctypes.py_object(error)
                    )

    def _run(self, slot: Slot) -> None:
        slot.thread = threading.get_ident()
        waiting, desk, begins = self.waiting, self._desk, self.begins
        while True:
            self._idle += 1
            self._wake.get()
            self._idle -= 1
            while waiting:
                try:
                    job = waiting.popleft()
                except IndexError:
                    break
                if waiting and job.gauge.mean > BRISK_S:
                    self.nudge()
                if desk.admit(job, slot.number, begins=begins):
                    self._attempt(slot, job)

    def _attempt(self, slot: Slot, job: Job) -> None:
        desk = self._desk
        context = desk.context(job)
        token = CURRENT.set(context)
        value, error = None, None
        slot.job = job
        try:
            value = self._call(job)
        except BaseException as raised:  # noqa: BLE001 - SystemExit too: a task does not end its worker
            error = raised
        try:
            with slot.lock:
                slot.job = None
        except BaseException as late:  # noqa: BLE001 - an interrupt that came between the end and the lock
            slot.job = None
            error = error or late
        if slot.interrupted:
            self._absorb(slot)
        took = desk.leave(job, slot.number)
        try:
            self._report(job, context, value, error, took)
        finally:
            CURRENT.reset(token)

    def _call(self, job: Job) -> object:
        task, message, hooks = job.task, job.message, self._desk.hooks
        if job.cancelled:  # after it was admitted, before this slot had it: the interrupt found nothing
            raise CancelRequested
        if message.payload is not None:
            self._desk.fetch(job)
        args, kwargs = task.codec.decode_call(message.args, message.kwargs, job.signed)
        if hooks.before_task:
            run_hooks(hooks.before_task, CURRENT.get(), loop=self._loop)
        return task.function(*args, **kwargs)

    def _report(
        self, job: Job, context: TaskContext, value: object, error: BaseException | None, took: float
    ) -> None:
        desk, loop = self._desk, self._loop
        if desk.hooks.after_task:
            run_hooks(desk.hooks.after_task, context, value, error, loop=loop)
        verdict = desk.returned(job, value, took) if error is None else desk.raised(job, error, took)
        if verdict.aside is not None:
            verdict = desk.store(job, verdict)
        news = desk.news(verdict)
        if news is None:
            desk.submit(job, verdict)
        else:
            self._submit_news(job, context, verdict, news)

    def _submit_news(self, job: Job, context: TaskContext, verdict: Verdict, news: News) -> None:
        run_hooks(news.before, context, *news.args, loop=self._loop)
        self._desk.submit(job, verdict)
        run_hooks(news.after, context, *news.args, loop=self._loop)

    @staticmethod
    def _absorb(slot: Slot) -> None:
        # The exception that was asked for may still be on its way; it must not strike the next task.
        slot.interrupted = False
        try:
            for _ in range(1_000):
                pass
        except BaseException:  # noqa: BLE001
            pass
