"""A child: imports the app, runs its tasks. Here is who makes whom in this process.

The main thread runs the app's event loop, an engine thread claims and settles, further threads run sync tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from taskq.app import TaskQ
from taskq.broker.client import Broker
from taskq.config import server_url
from taskq.errors import ConfigurationError, TaskqError
from taskq.loading import load_app
from taskq.middleware import Hooks, arun
from taskq.worker.appearance import set_title, set_up_logs
from taskq.worker.channel import Channel
from taskq.worker.config import WorkerConfig
from taskq.worker.desk import Desk
from taskq.worker.engine import Engine
from taskq.worker.holdings import Holdings
from taskq.worker.intake import Intake, names_of
from taskq.worker.janitor import Janitor
from taskq.worker.ledger import Ledger
from taskq.worker.life import Life
from taskq.worker.link import Link
from taskq.worker.loop import LoopRunner
from taskq.worker.prefetch import Prefetch
from taskq.worker.testimony import Testimony
from taskq.worker.threads import ThreadRunner
from taskq.worker.timeouts import Timeouts
from taskq.worker.verdict import judge_of

log = logging.getLogger("taskq.worker")

EXIT_NOT_LOADED = 3
"""The child's exit code when the app cannot be loaded."""

_JANITOR_S = 2.0
"""How long the end of a process may wait for payloads to be removed."""

_SWITCH_S = 0.002
"""How long a thread may keep the interpreter while others want it: a task that computes while the engine would claim.

Python's own 5 ms idle a slot; 1 ms takes it from the engine amid a batch, again and again.
"""


class Report(msgspec.Struct):
    """What the first child tells the supervisor, which never imports the app."""

    app: str
    url: str
    namespace: str
    shards: int
    lease_ms: int
    queues: list[str]
    declared: list[str]
    """The queues of the app's tasks, and `default`."""
    tasks: list[str]


def report_of(app: TaskQ, config: WorkerConfig, url: str) -> Report:
    """Put together what a process works on: the app's word, and the configuration's before it."""
    return Report(
        app=app.name,
        url=url,
        namespace=config.namespace or app.config.namespace,
        shards=app.config.shards,
        lease_ms=config.lease_ms or app.config.lease_ms,
        queues=list(config.queues) or _declared(app),
        declared=_declared(app),
        tasks=sorted(app.tasks),
    )


def slots_of(config: WorkerConfig) -> int:
    """How many slots the testimony of a child needs: its threads', then its loop's."""
    return 2 * config.concurrency


def run_child(config: WorkerConfig, channel: Channel, testimony: Testimony, first: bool) -> int:
    """Be a child until told to stop; gives the exit code."""
    set_title(config, "process")
    sys.setswitchinterval(_SWITCH_S)
    logging.getLogger().handlers.clear()  # the supervisor's: the app may set up its own
    # A terminal's Ctrl-C reaches the whole group; the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.register_at_fork(after_in_child=_let_go_of_signals)
    try:
        app = load_app(config.app, config.app_dir)
        set_up_logs(config)
        url = server_url(app.config.redis_url, option=config.url)
        report = report_of(app, config, url)
        broker = Broker(url, report.namespace, shards=report.shards)
        report.url = broker.url.url
        app.use(broker)
        _run_loop(Process(config, channel, testimony, app, broker, report, first).run())
    except TaskqError as error:
        channel.send(kind="failed", error=str(error), type=type(error).__name__)
        return EXIT_NOT_LOADED
    except BaseException:  # SystemExit of a hook or of the lifespan too
        log.exception("this process has to end")
        return 70  # EX_SOFTWARE of sysexits.h
    return 0


def _let_go_of_signals() -> None:
    """Have a process that a task forks take its signals as any other does.

    It shares the descriptor that wakes our event loop: a TERM to it, as a pool sends to its own, would stop us.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _declared(app: TaskQ) -> list[str]:
    queues = dict.fromkeys(task.options.queue for task in app.tasks.values())
    return [*(queue for queue in queues if queue != "default"), "default"]


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


class Process:
    """The life of one child, from the app's lifespan to its end."""

    def __init__(
        self,
        config: WorkerConfig,
        channel: Channel,
        testimony: Testimony,
        app: TaskQ,
        broker: Broker,
        report: Report,
        first: bool,
    ) -> None:
        self._config, self._channel, self._testimony = config, channel, testimony
        self._app, self._broker, self._report, self._first = app, broker, report, first
        self._hooks = Hooks(app.middleware)
        self._janitor = Janitor(app.payloads, broker)
        self._ends_worker = False

    async def run(self) -> None:
        app, hooks = self._app, self._hooks
        if self._first:
            await arun(hooks.before_worker_start, app)
        await arun(hooks.before_process_start, app)
        async with lifespan_of(app) as state:
            await self._work(state)
        await arun(hooks.after_process_stop, app)
        if self._ends_worker:
            await arun(hooks.after_worker_stop, app)

    async def _work(self, state: Any) -> None:
        app, hooks, loop = self._app, self._hooks, asyncio.get_running_loop()
        engine = self._engine(loop, state)
        ended = asyncio.Event()
        ready, stopped = asyncio.Event(), asyncio.Event()
        failures: list[BaseException] = []

        def tell(event: asyncio.Event) -> None:
            loop.call_soon_threadsafe(event.set)

        def opened() -> None:
            if not ready.is_set():
                # Before the first claim: a task that kills this process at once must not look like a false start.
                self._channel.send(kind="ready", report=msgspec.to_builtins(self._report))
                tell(ready)

        def turn() -> None:
            try:
                engine.run(opened=opened, stopped=lambda: tell(stopped))
            except BaseException as error:  # noqa: BLE001 - told to the main thread
                failures.append(error)
            finally:
                tell(ended)

        if threading.current_thread() is threading.main_thread():
            loop.add_signal_handler(signal.SIGTERM, engine.stop)
        self._janitor.start()
        threading.Thread(target=turn, name="taskq-engine", daemon=True).start()
        await _first_of(ready.wait(), ended.wait())
        if ready.is_set():
            await arun(hooks.after_process_start, app)
            if self._first:
                await arun(hooks.after_worker_start, app)
            await _first_of(stopped.wait(), ended.wait())
            await arun(hooks.before_process_stop, app)
            self._ends_worker = engine.ends_worker or (self._first and self._config.burst)
            if self._ends_worker:
                await arun(hooks.before_worker_stop, app)
            await ended.wait()
        await asyncio.to_thread(self._janitor.stop, time.monotonic() + _JANITOR_S)
        if failures:
            raise failures[0]

    def _engine(self, loop: asyncio.AbstractEventLoop, state: Any) -> Engine:
        config, report, app = self._config, self._report, self._app
        namespace, keys = self._broker.namespace, self._broker.keys[0]
        judge = judge_of(app)
        life = Life(
            keys,
            lease_ms=report.lease_ms,
            queues=report.queues,
            weights=config.weights,
            tasks=names_of(app),
            info=self._info(),
            bounds=app.config.max_length,
        )
        ledger = Ledger(config.log_tasks)
        holdings = Holdings(Prefetch(config.concurrency), ledger)
        holdings.discard = self._janitor.discard
        desk = Desk(holdings, judge, self._hooks, self._testimony, namespace, state)
        threads = ThreadRunner(desk, config.concurrency, loop)
        asyncs = LoopRunner(desk, config.concurrency, loop, first_slot=config.concurrency)
        timeouts = Timeouts(threads, asyncs)
        holdings.attach(threads, asyncs, timeouts, asyncs.tell)
        engine = Engine(
            link=Link(self._broker.url, keys, report.queues),
            namespace=namespace,
            life=life,
            intake=Intake(app.tasks, judge),
            holdings=holdings,
            timeouts=timeouts,
            testimony=self._testimony,
            channel=self._channel,
            ledger=ledger,
            grace_s=config.grace_ms / 1_000,
            burst=config.burst,
        )
        desk.submit = engine.submit
        return engine

    def _info(self) -> bytes:
        host = socket.gethostname()
        try:
            release = version("taskq")
        except PackageNotFoundError:
            release = "unknown"
        return msgspec.msgpack.encode(
            {
                "name": self._config.name or f"{host}:{os.getppid()}",
                "host": host,
                "pid": os.getpid(),
                "app": self._report.app,
                "version": release,
                "python": platform.python_version(),
                "queues": self._report.queues,
                "concurrency": self._config.concurrency,
                "started_ms": round(time.time() * 1_000),
                "tasks": len(self._report.tasks),
            }
        )


@contextlib.asynccontextmanager
async def lifespan_of(app: TaskQ) -> AsyncGenerator[Any]:
    """Enter the app's lifespan; one that is sync runs here too, for it sets up what the tasks of this process use."""
    manager = None if app.lifespan is None else app.lifespan(app)
    if manager is None:
        yield None
    elif isinstance(manager, AbstractAsyncContextManager):
        async with manager as state:
            yield state
    elif isinstance(manager, AbstractContextManager):
        with manager as state:
            yield state
    else:
        raise ConfigurationError(
            f"lifespan gave {manager!r}: decorate it with contextlib.asynccontextmanager"
        )


async def _first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def main() -> None:
    """Be an executed child: the configuration comes on standard input, the rest by inherited descriptors."""
    given = msgspec.json.decode(sys.stdin.buffer.read(), type=dict[str, Any])
    config = msgspec.convert(given["config"], WorkerConfig)
    channel = Channel(socket.socket(fileno=given["channel"]))
    testimony = Testimony(slots_of(config), given["testimony"])
    leave(run_child(config, channel, testimony, given["first"]))


def leave(code: int) -> None:
    """End this process now: daemon threads may still run tasks, and a forked child must not run its parent's exit."""
    try:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a task may have closed it, or its reader is gone
                stream.flush()
    finally:
        os._exit(code)
