"""A fork: one run of one task, from the order to the verdict; and how the server is forked, which has all of it ready.

A sync task runs in the main thread, where a signal raises in it whatever it waits for; the app's lifespan and async
hooks have a loop in a thread beside it then. An async task has the main thread's loop, as in a worker process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import logging
import mmap
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from inspect import iscoroutinefunction
from typing import Any

from taskq.app import TaskQ
from taskq.errors import SoftTimeout
from taskq.middleware import Hooks
from taskq.worker.appearance import set_title
from taskq.worker.config import WorkerConfig
from taskq.worker.desk import Desk
from taskq.worker.here import AwaitedRunner, HereRunner
from taskq.worker.holdings import Holdings, Runner
from taskq.worker.isolated.forks import Forks
from taskq.worker.isolated.kernel import limit_memory, prefer, tie
from taskq.worker.isolated.server import INTERRUPT, ForkServer
from taskq.worker.isolated.wire import NEVER, ORDERS, Order, Why, Word, hear, say
from taskq.worker.job import Gauge, Job
from taskq.worker.ledger import Ledger
from taskq.worker.prefetch import Prefetch
from taskq.worker.process import leave, life_of, run_loop
from taskq.worker.testimony import Unread
from taskq.worker.verdict import CancelRequested, HardTimeout, Verdict, judge_of

log = logging.getLogger("taskq.worker")


def open_forks(app: TaskQ, config: WorkerConfig, close_inherited: Callable[[], object]) -> Forks | None:
    """Fork the server, if the app has tasks for it. To be called before this process has threads or connections.

    `close_inherited` closes in the server what only this process needs.
    """
    isolated = [task for task in app.tasks.values() if task.options.isolate]
    if not isolated:
        return None
    if threads := [one.name for one in threading.enumerate() if one is not threading.main_thread()]:
        log.warning(
            "importing the app has started threads (%s): the processes of isolated tasks have none of them, and a lock "
            "that one holds now stays locked there; start them in lifespan",
            ", ".join(threads),
        )
    if sys.platform != "linux" and any(task.options.max_memory for task in isolated):
        log.warning("max_memory has no effect here: only Linux bounds what a process allocates")
    ours, theirs = socket.socketpair()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # else each fork would write what stands there
            stream.flush()
    pid = os.fork()
    if pid == 0:
        code = 70  # EX_SOFTWARE of sysexits.h
        try:
            ours.close()
            close_inherited()
            set_title(config, "fork server")
            # A unit's TERM reaches all its processes. Ignored, it would be so in what a task executes, too.
            signal.signal(signal.SIGTERM, _nothing)
            warm = Warm(app, config)
            gc.collect()
            gc.freeze()  # what stands now is shared with the forks, and not touched by their collectors
            ForkServer(theirs, warm.run).serve()
            code = 0
        except BaseException:  # as in `run_child`
            log.exception("the fork server has to end")
        finally:
            leave(code)
    theirs.close()
    return Forks(ours, pid)


class Warm:
    """What is made once, for all forks."""

    def __init__(self, app: TaskQ, config: WorkerConfig) -> None:
        self._app, self._config = app, config
        self._hooks, self._judge = Hooks(app.middleware), judge_of(app)
        self._needs_loop = app.lifespan is not None or _want_loop(self._hooks)
        for task in app.tasks.values():
            if task.options.isolate:
                with contextlib.suppress(
                    Exception
                ):  # the codec is made at its first use; what it says of this is no news
                    task.codec.decode_call(b"", b"")
        with contextlib.suppress(ImportError):
            importlib.import_module("uvloop")

    def run(self, line: socket.socket, leash: int, reasons: mmap.mmap, max_memory: int) -> None:
        """Be a fork."""
        tie(leash)
        prefer()
        lift = _nothing if max_memory == NEVER else limit_memory(max_memory)
        interrupts = _Interrupts(reasons)
        signal.signal(signal.SIGTERM, _nothing)
        order = hear(line, ORDERS)
        if order is None:
            return
        job = self._job(order)
        set_title(self._config, f"a run of {job.task.name}")
        namespace = self._app.broker.namespace
        namespace.hear(order.zero_ms + round(time.monotonic() * 1_000))
        desk = _Desk(line, lift, self._judge, self._hooks, Unread(2), namespace, None)
        try:
            if job.task.is_async:
                run_loop(self._run_async(job, desk, interrupts))
            else:
                self._run_sync(job, desk, interrupts)
        except BaseException as error:
            interrupts.aim(None, job)
            lift()
            if not desk.told:
                HereRunner(desk, 1, None).fail(job, error)
            else:
                log.exception("%s %s had ended; then its process raised", job.task.name, job.id)

    def _job(self, order: Order) -> Job:
        message = order.message
        job = Job(
            order.id,
            order.g,
            message,
            Gauge(self._app.tasks[message.task]),
            order.failures,
            order.crashes,
            careful=False,
            expires_ms=0,
            process=order.process,
            epoch=0,
            received=time.monotonic(),
        )
        job.signed, job.outcome_given = order.signed, order.settled
        return job

    def _run_sync(self, job: Job, desk: _Desk, interrupts: _Interrupts) -> None:
        with self._life() as (loop, desk.state):
            runner = _MainRunner(desk, loop, interrupts)
            interrupts.aim(runner, job)
            runner.run(job)

    async def _run_async(self, job: Job, desk: _Desk, interrupts: _Interrupts) -> None:
        loop = asyncio.get_running_loop()
        async with life_of(self._app, self._hooks) as desk.state:
            runner = AwaitedRunner(desk, 1, loop, first_slot=1)
            interrupts.aim(runner, job)
            run = loop.create_task(runner.run(job))
            loop.add_signal_handler(INTERRUPT, interrupts.look)
            loop.call_soon(interrupts.look)  # what came before is seen once the job runs
            await run

    @contextlib.contextmanager
    def _life(self) -> Generator[tuple[asyncio.AbstractEventLoop | None, Any]]:
        """Give a loop, in a thread, and what the lifespan yields there; no loop where nothing of the app needs one."""
        if not self._needs_loop:
            yield None, None
            return
        begun: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, Any]] = Future()

        async def live() -> None:
            over = asyncio.Event()
            try:
                async with life_of(self._app, self._hooks) as state:
                    begun.set_result((asyncio.get_running_loop(), over, state))
                    await over.wait()
            except BaseException as error:
                if begun.done():
                    log.exception("the end of the lifespan raised")
                else:
                    begun.set_exception(error)

        thread = threading.Thread(target=run_loop, args=(live(),), name="taskq-loop", daemon=True)
        thread.start()
        loop, over, state = begun.result()
        try:
            yield loop, state
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join()


def _want_loop(hooks: Hooks) -> bool:
    """Whether there are hooks of processes, or async ones of runs."""
    of_processes = (
        hooks.before_process_start,
        hooks.after_process_start,
        hooks.before_process_stop,
        hooks.after_process_stop,
    )
    of_runs = (
        *hooks.before_task,
        *hooks.after_task,
        *hooks.before_retry,
        *hooks.after_retry,
        *hooks.before_failure,
        *hooks.after_failure,
    )
    return any(of_processes) or any(map(iscoroutinefunction, of_runs))


class _Desk(Desk):
    """Tells the worker process what became of the run."""

    def __init__(self, line: socket.socket, lift: Callable[[], None], *desk: Any) -> None:
        holdings = Holdings(Prefetch(1), Ledger(log_tasks=False))
        super().__init__(holdings, *desk)
        holdings.discard = lambda name: say(line, Word(discard=name))
        self.submit = self._tell
        self.told = False
        """The last word on the run was told."""
        self._line, self._lift = line, lift

    def leave(self, job: Job, slot: int) -> float:
        self._lift()
        return super().leave(job, slot)

    def _tell(self, job: Job, verdict: Verdict) -> None:  # noqa: ARG002 - as `submit` has it
        words = Word(verdict.kind, verdict.ms, verdict.took, verdict.outcome, verdict.still_runs)
        say(self._line, words)
        self.told = not verdict.still_runs


class _Interrupts:
    """Raises in the run what the fork server has noted in `reasons`, once the signal says that there is something."""

    def __init__(self, reasons: mmap.mmap) -> None:
        self._reasons = reasons
        self._heeded = Why(0)
        self._runner: Runner | None = None
        self._job: Job
        signal.signal(INTERRUPT, lambda _number, _frame: self.look())

    def aim(self, runner: Runner | None, job: Job) -> None:
        """Say where `job` runs; None: nowhere any more."""
        self._runner, self._job = runner, job

    def look(self) -> None:
        """Interrupt the run, if there is a new reason. Before it has begun nothing is done: it looks itself, then."""
        runner = self._runner
        if runner is None or self._job not in runner.running():
            return
        job, why = self._job, Why(self._reasons[0]) & ~self._heeded
        self._heeded |= why
        if why & Why.HARD:
            job.timed_out = True
            runner.interrupt(job, HardTimeout)
        elif why & Why.CANCELLED:
            job.cancelled = True
            runner.interrupt(job, CancelRequested)
        elif why & Why.SOFT:
            runner.interrupt(job, SoftTimeout)


class _MainRunner(HereRunner):
    """Runs a sync job in the main thread, where signals are heard."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop | None, interrupts: _Interrupts) -> None:
        super().__init__(desk, 1, loop)
        self._interrupts = interrupts

    def interrupt(self, job: Job, error: type[BaseException]) -> None:  # noqa: ARG002 - there is but one
        """Raise `error`: the handler of a signal runs amid the task."""
        raise error

    def _call(self, job: Job) -> object:
        self._interrupts.look()
        return super()._call(job)


def _nothing(*_: object) -> None:
    """A handler, for a signal that is not to end us; or a bound that is not there to lift."""
