"""What `app.testing()` gives: an app whose tasks run when a test says so."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
import uuid
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, Self

from taskq.app import TaskQ
from taskq.broker import memory
from taskq.broker.commands import reading
from taskq.broker.commands.working import Kind
from taskq.bulk import Call
from taskq.clock import Duration, to_ms
from taskq.errors import ConfigurationError
from taskq.handle import TaskHandle
from taskq.sending import Sender
from taskq.testing.broker import TestingBroker
from taskq.testing.calls import SentCall, Wanted, read_call
from taskq.testing.chaos import Chaos, Delivery, KillAfter
from taskq.testing.home import Life, LoopThread, running_loop
from taskq.testing.stepped import SteppedWorker
from taskq.testing.store import MemoryStore
from taskq.worker.job import Job
from taskq.worker.verdict import Verdict

Mode = Literal["inline", "queued"]
"""`inline`: `enqueue` runs the task before it returns. `queued`: tasks wait until `run()`."""


class AppTesting:
    """An app under test, as `with` and `async with`: its calls go to a server in memory, its hooks and lifespan run.

    Tasks run by the worker's own code, one at a time: sync ones in the thread that asks, async ones on the loop
    that awaits, else on one in a thread of its own. Time stands still but for `advance`; a task's timeouts count
    real time and what `advance` adds while it runs. What starts with `a` is for `async with`, where the loop is the
    test's.
    """

    __test__ = False

    def __init__(self, app: TaskQ, mode: Mode = "queued") -> None:
        if mode not in ("inline", "queued"):
            raise ConfigurationError(f"mode={mode!r}: it is 'inline' or 'queued'")
        self.app = app
        self.mode = mode
        self._seconds = round(time.time(), 3)

    # -- the life of it

    def __enter__(self) -> Self:
        self._open()
        self._thread = LoopThread()
        try:
            self._thread.call(self._begin())
        except BaseException:
            self._close()
            self._thread.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._thread.call(self._end())
        finally:
            self._close()
            self._thread.stop()

    async def __aenter__(self) -> Self:
        self._open()
        try:
            await self._begin()
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._end()
        finally:
            self._close()

    def _open(self) -> None:
        app = self.app
        app.freeze()
        self._server = f"testing-{uuid.uuid4().hex[:12]}"
        memory.server(self._server).clock = lambda: self._seconds
        self._broker = TestingBroker(
            f"memory://{self._server}",
            app.config,
            self.mode == "inline",
            self.run,
            self.arun,
            lambda: self._worker.hear_cancels(),
            self._waits_in_vain,
        )
        self._thread_id = threading.get_ident()
        self._before = app.use(self._broker, MemoryStore())
        self._life = Life(app)
        self._home: asyncio.AbstractEventLoop | None = None
        self._chaos: Chaos | None = None

    async def _begin(self) -> None:
        await self._life.begin()
        loop = asyncio.get_running_loop()
        self._worker = SteppedWorker(self.app, self._broker, loop, self._life.state, self._heed)
        self._home = loop
        if self._broker.inline:
            await self.arun()  # what the start has enqueued

    async def _end(self) -> None:
        try:
            await self._life.end()
        finally:
            self._worker.close()
            await self._broker.aclose()

    def _close(self) -> None:
        self.app.use(self._before)
        self._broker.close()
        memory.forget(self._server)

    # -- running

    def run(self) -> list[TaskHandle[Any]]:
        """Run tasks until none is ready, those included that they enqueue; gives what ran, a retry once more."""
        self._refuse_at_home("run", "arun")
        ran: list[TaskHandle[Any]] = []
        while (job := self._take()) is not None:
            self._worker.run(job)
            ran.append(_handle(job))
        return ran

    async def arun(self) -> list[TaskHandle[Any]]:
        """As `run`, on the running loop."""
        ran: list[TaskHandle[Any]] = []
        while (job := self._take()) is not None:
            await self._worker.arun(job)
            ran.append(_handle(job))
        return ran

    def run_one(self) -> TaskHandle[Any] | None:
        """Run the task that is next; None if none is ready."""
        self._refuse_at_home("run_one", "arun_one")
        job = self._take()
        if job is None:
            return None
        self._worker.run(job)
        return _handle(job)

    async def arun_one(self) -> TaskHandle[Any] | None:
        """As `run_one`, on the running loop."""
        job = self._take()
        if job is None:
            return None
        await self._worker.arun(job)
        return _handle(job)

    def _take(self) -> Job | None:
        return None if self._home is None else self._worker.take()

    def _refuse_at_home(self, method: str, twin: str) -> None:
        if self._home is not None and running_loop() is self._home:
            if self._broker.inline and method == "run":
                method, twin = "enqueue", "aenqueue"
            raise RuntimeError(f"{method}() blocks the loop that tasks are to run on: use `await {twin}()`")

    def _waits_in_vain(self) -> bool:
        """True if who asks is the test itself, and no other thread runs anything."""
        return threading.get_ident() == self._thread_id and not self._worker.busy

    def _heed(self, job: Job, verdict: Verdict) -> bool:
        if self._broker.inline and verdict.kind is Kind.RETRY:
            verdict.ms = 0
        return self._chaos is None or self._chaos.heed(job, verdict)

    # -- time

    @property
    def now(self) -> datetime:
        """What the server's clock says, in UTC."""
        return datetime.fromtimestamp(self._seconds, UTC)

    def advance(self, by: Duration, *, run: bool = True) -> list[TaskHandle[Any]]:
        """Move the server's clock on: delays and retries fall due, tasks, results and unique keys expire, in order.

        Tasks run as with a worker all that time, beginning with what is ready; gives what ran. `run=False`: as
        with none, so that what is ready waits, and may expire. So it is where a task moves the clock: it grows older.
        """
        self._refuse_at_home("advance", "aadvance")
        run = run and not self._worker.busy
        return [handle for _ in self._instants(by, run) for handle in (self.run() if run else ())]

    async def aadvance(self, by: Duration, *, run: bool = True) -> list[TaskHandle[Any]]:
        """As `advance`, on the running loop."""
        run = run and not self._worker.busy
        return [handle for _ in self._instants(by, run) for handle in (await self.arun() if run else ())]

    def _instants(self, by: Duration, run: bool) -> Iterator[None]:
        """Set the clock to each instant at which something falls due, and at last to the end."""
        until_ms = round(self._seconds * 1_000) + to_ms(by)
        if run:
            yield
            while self._next_due_ms() <= until_ms:
                self._move_to(self._next_due_ms() / 1_000)
                yield
        self._move_to(until_ms / 1_000)
        self._worker.file()
        while self._next_due_ms() <= until_ms:
            self._worker.file()

    def _move_to(self, seconds: float) -> None:
        before, self._seconds = self._seconds, max(self._seconds, seconds)
        self._worker.age(self._seconds - before)

    def _next_due_ms(self) -> float:
        keys = self._broker.keys[0]
        found = self._broker.call(reading.read(keys, "ZRANGE", keys.agenda, 0, 0, "WITHSCORES"))
        return float(found[1]) if found else math.inf

    # -- what was enqueued

    def enqueued(self, task: Sender[..., Any] | None = None) -> list[SentCall]:
        """Give the calls, of one task or of all, that were enqueued since the beginning, in that order.

        What found its id or its unique key taken is not among them.
        """
        calls = [read_call(self.app, envelope) for envelope in self._broker.sent]
        return [call for call in calls if task is None or call.task == task.name]

    def assert_enqueued(self, task: Sender[..., Any], *args: Any, **kwargs: Any) -> SentCall:
        """Give the first call of `task` that was enqueued: with these arguments, or with any if none are given.

        Raises:
            AssertionError: there is none; it says what was enqueued.
            ArgumentMismatch, NotEncodable: there can be no such call.
        """
        __tracebackhide__ = True
        calls = self.enqueued()
        wanted = Wanted(self.app, task, args, kwargs)
        for call in calls:
            if wanted.fits(call):
                return call
        there = "\n".join(f"  {call}" for call in calls) or "  nothing"
        raise AssertionError(f"{wanted} was not enqueued. What was:\n{there}")

    # -- twice

    def chaos(
        self, call: Call[Any], *, kill_after: KillAfter | None = None, duplicate: bool = False
    ) -> list[Delivery]:
        """Enqueue a call, run it as if its process died or its lease ran out, and give what each run came to.

        Args:
            call: made by `task.call(…)`.
            kill_after: the process dies once it has claimed the task, run it, or settled it.
            duplicate: two processes run it: the first stalled, lost its lease to the second, and ends after it.

        Raises:
            RuntimeError: other tasks are ready; `run()` them first.
        """
        self._refuse_at_home("chaos", "achaos")
        with self._misfortune() as chaos:
            handle = self.app.enqueue_many([call])[0].get()
            for job in chaos.runs(handle.id, kill_after, duplicate):
                self._worker.run(job)
        return chaos.deliveries

    async def achaos(
        self, call: Call[Any], *, kill_after: KillAfter | None = None, duplicate: bool = False
    ) -> list[Delivery]:
        """As `chaos`, on the running loop."""
        with self._misfortune() as chaos:
            handle = (await self.app.aenqueue_many([call]))[0].get()
            for job in chaos.runs(handle.id, kill_after, duplicate):
                await self._worker.arun(job)
        return chaos.deliveries

    @contextlib.contextmanager
    def _misfortune(self) -> Generator[Chaos]:
        inline, self._broker.inline = self._broker.inline, False
        self._chaos = Chaos(self._worker)
        try:
            yield self._chaos
        finally:
            self._broker.inline, self._chaos = inline, None


def _handle(job: Job) -> TaskHandle[Any]:
    return job.task.handle(job.id)
