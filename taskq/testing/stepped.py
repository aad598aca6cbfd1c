"""A worker process that does one thing at a time, when it is told to.

It claims, reads, judges and settles by the worker's own parts; in place of the engine's thread there are the
calls of the test.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from taskq.app import TaskQ
from taskq.broker.command import Command
from taskq.broker.commands import working
from taskq.broker.commands.working import Batch, Claimed
from taskq.middleware import Hooks
from taskq.names import new_process_id
from taskq.testing.broker import TestingBroker
from taskq.testing.home import running_loop
from taskq.worker.desk import Desk
from taskq.worker.here import AwaitedRunner, HereRunner
from taskq.worker.holdings import Holdings
from taskq.worker.intake import Intake, names_of
from taskq.worker.job import Job
from taskq.worker.ledger import Ledger
from taskq.worker.life import declare_bounds
from taskq.worker.prefetch import Prefetch
from taskq.worker.testimony import Testimony
from taskq.worker.timeouts import Timeouts
from taskq.worker.verdict import Verdict, judge_of

SLOTS = 256
"""How deep tasks may enqueue tasks that run at once."""

_LOOKS_EVERY_S = 0.02
_LEASE_MS = 100 * 365 * 86_400_000  # the test's clock may go far, and nothing beats meanwhile


class SteppedWorker:
    """Runs the tasks of `app`. `loop` is where async tasks and hooks run, `state` what the lifespan yielded.

    `heed` is given each verdict before it is settled; False, and it is not: the process died before.
    """

    def __init__(
        self,
        app: TaskQ,
        broker: TestingBroker,
        loop: asyncio.AbstractEventLoop,
        state: Any,
        heed: Callable[[Job, Verdict], bool],
    ) -> None:
        self._app, self._broker, self._loop, self._heed = app, broker, loop, heed
        self._keys = broker.keys[0]
        self._ready: deque[Job] = deque()
        self._lock = threading.RLock()
        self._queues = broker.queues
        for task in app.tasks.values():
            self._queues.setdefault(task.options.queue)
        self._queues.setdefault("default")
        judge = judge_of(app)
        self._intake = Intake(app.tasks, judge)
        self._holdings = Holdings(Prefetch(SLOTS), Ledger(log_tasks=False))
        self._testimony = Testimony(2 * SLOTS)
        desk = Desk(self._holdings, judge, Hooks(app.middleware), self._testimony, broker.namespace, state)
        desk.submit = self._submit
        self._threads = _HereRunner(desk, loop, self._ready)
        self._asyncs = _AwaitedRunner(desk, loop, self._ready)
        self._timeouts = Timeouts(self._threads, self._asyncs)
        self._holdings.attach(self._threads, self._asyncs, self._timeouts, self._asyncs.tell)
        self._watching = loop.create_task(self._watch())
        self._escaped: BaseException | None = None
        self._begin()

    def _begin(self) -> None:
        self.process, self._seq = new_process_id(), 0
        self._call(working.hello(self._keys, self.process, _LEASE_MS, b"", tuple(self._queues)))
        names = names_of(self._app)
        if names:
            self._call(working.register(self._keys, self.process, names))
        self._broker.run(declare_bounds(self._keys, self._app.config.max_length or {}))

    def die(self) -> None:
        """End as a process does whose machine is gone, and come back under another name."""
        beats = self._call(working.beats(self._keys)).get(self.process, 0)
        self._call(working.reap(self._keys, self.process, beats))
        self._begin()

    def close(self) -> None:
        """Say goodbye. To be called on the loop."""
        self._watching.cancel()
        self._call(working.reap(self._keys, self.process, None))
        self._testimony.close()

    def take(self) -> Job | None:
        """Claim a task that is to run; None if there is none. What must not run is settled."""
        with self._lock:
            while not self._ready:
                claimed = self._claim(1)
                if not claimed:
                    return None
                taken = self._intake.take(claimed, self.process, self._holdings.epoch, time.monotonic())
                for one, task in taken.unknown:
                    self._call(working.park(self._keys, self.process, one.id, one.g, task))
                if taken.unreadable:
                    self._call(working.settle(self._keys, self.process, taken.unreadable))
                for job in taken.jobs:
                    if job.careful:  # it would have to be alone, which it is here
                        job.careful = False
                        self._call(working.start(self._keys, self.process, job.id, job.g))
                self._holdings.judge(taken.verdicts)
                self._holdings.take(taken.jobs)
                self._settle()
            return self._ready.popleft()

    @property
    def busy(self) -> bool:
        """True while a task runs."""
        return bool(self._threads.running() or self._asyncs.running())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOKS_EVERY_S)
            self._timeouts.check(time.monotonic())

    def age(self, seconds: float) -> None:
        """Let what runs have run for longer: the test's clock has moved on."""
        for runner in (self._threads, self._asyncs):
            for job in runner.running():
                job.started -= seconds
        self._timeouts.look(time.monotonic())

    def hear_cancels(self) -> None:
        """Interrupt what runs and was cancelled."""
        for beat in self._call(working.beat(self._keys, _LEASE_MS, [self.process])):
            self._holdings.cancel(beat.cancels)

    def file(self) -> None:
        """Have the server file what fell due, and take its time, claiming nothing."""
        self._claim(0)

    def _claim(self, limit: int) -> Sequence[Claimed]:
        with self._lock:
            self._seq += 1
            words = working.claim_words(self._keys, [*self._queues])
            batch: Batch = self._call(working.claim(self._keys, self.process, self._seq, limit, words))
            self._broker.namespace.hear(batch.now_ms)
            return batch.tasks

    def run(self, job: Job) -> None:
        """Run a job in this thread, or on the loop if it is async."""
        if job.task.is_async:
            asyncio.run_coroutine_threadsafe(self._asyncs.run(job), self._loop).result()
        elif running_loop() is not None:
            aside = threading.Thread(target=self._threads.run, args=(job,))  # as in a worker: no loop there
            aside.start()
            aside.join()
        else:
            self._threads.run(job)
        self._let_out()

    async def arun(self, job: Job) -> None:
        """Run a job on the running loop, or in another thread if it is sync."""
        if job.task.is_async:
            await asyncio.create_task(self._asyncs.run(job))
        else:
            await asyncio.to_thread(self._threads.run, job)
        self._let_out()

    def _let_out(self) -> None:
        """Raise what is meant for who runs the test: Ctrl-C, a timeout of the test, `pytest.fail()`."""
        escaped, self._escaped = self._escaped, None
        if escaped is not None:
            raise escaped

    def _submit(self, job: Job, verdict: Verdict) -> None:
        if verdict.error is not None and not isinstance(verdict.error, (Exception, SystemExit)):
            self._escaped = verdict.error
        if self._heed(job, verdict):
            self._holdings.submit(job, verdict)
            self._settle()

    def _settle(self) -> None:
        with self._lock:
            self._holdings.collect(self.process)
            while sent := self._holdings.sent:
                words = [verdict.words(job) for job, verdict in sent]
                self._holdings.settled(self._call(working.settle(self._keys, self.process, words)))
                self._holdings.collect(self.process)

    def _call(self, command: Command[Any]) -> Any:
        return self._broker.call(command)


class _HereRunner(HereRunner):
    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop, ready: deque[Job]) -> None:
        super().__init__(desk, SLOTS, loop)
        self._ready = ready

    def offer(self, jobs: Sequence[Job]) -> None:
        """Leave them to who asks for the next one."""
        self._ready.extend(jobs)


class _AwaitedRunner(AwaitedRunner):
    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop, ready: deque[Job]) -> None:
        super().__init__(desk, SLOTS, loop, first_slot=SLOTS)
        self._ready = ready

    def offer(self, jobs: Sequence[Job]) -> None:
        """Leave them to who asks for the next one."""
        self._ready.extend(jobs)
