"""A child: imports the app, runs its tasks. Here is who makes whom in this process.

The main thread runs the app's event loop, an engine thread claims and settles, further threads run sync tasks.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import signal
import socket
import sys
import threading
import time
from collections.abc import Coroutine
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from taskq.app import TaskQ
from taskq.broker.client import Broker
from taskq.config import server_url
from taskq.errors import TaskqError
from taskq.loading import load_app
from taskq.middleware import Hooks, arun
from taskq.worker.appearance import set_title, set_up_logs
from taskq.worker.channel import Channel
from taskq.worker.config import WorkerConfig
from taskq.worker.desk import Desk
from taskq.worker.engine import Engine
from taskq.worker.holdings import Holdings
from taskq.worker.intake import Intake, names_of
from taskq.worker.isolated.forks import Forks
from taskq.worker.isolated.runner import IsolatedRunner
from taskq.worker.janitor import Janitor
from taskq.worker.ledger import Ledger
from taskq.worker.life import Life
from taskq.worker.link import Link
from taskq.worker.loop import LoopRunner
from taskq.worker.prefetch import Prefetch
from taskq.worker.process import leave, let_go_of_signals, lifespan_of, run_loop
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
    """How many slots the testimony of a child needs: its threads', its loop's, then its forks'."""
    return 3 * config.concurrency


def run_child(config: WorkerConfig, channel: Channel, testimony: Testimony, first: bool) -> int:
    """Be a child until told to stop; gives the exit code."""
    from taskq.worker.isolated.fork import open_forks  # what it needs of the system is not there on Windows

    set_title(config, "process")
    sys.setswitchinterval(_SWITCH_S)
    logging.getLogger().handlers.clear()  # the supervisor's: the app may set up its own
    # A terminal's Ctrl-C reaches the whole group; the supervisor decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.register_at_fork(after_in_child=let_go_of_signals)
    try:
        app = load_app(config.app, config.app_dir)
        set_up_logs(config)
        url = server_url(app.config.redis_url, option=config.url)
        report = report_of(app, config, url)
        broker = Broker(url, report.namespace, shards=report.shards)
        report.url = broker.url.url
        app.use(broker)

        def close_inherited() -> None:
            channel.close()
            testimony.close()

        forks = open_forks(app, config, close_inherited)
        run_loop(Process(config, channel, testimony, app, broker, report, first, forks).run())
    except TaskqError as error:
        channel.send(kind="failed", error=str(error), type=type(error).__name__)
        return EXIT_NOT_LOADED
    except BaseException:  # SystemExit of a hook or of the lifespan too
        log.exception("this process has to end")
        return 70  # EX_SOFTWARE of sysexits.h
    return 0


def _declared(app: TaskQ) -> list[str]:
    queues = dict.fromkeys(task.options.queue for task in app.tasks.values())
    return [*(queue for queue in queues if queue != "default"), "default"]


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
        forks: Forks | None = None,
    ) -> None:
        self._forks = forks
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
        self._begin_forks(engine, failures)
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
        await asyncio.to_thread(self._end_helpers)
        if failures:
            raise failures[0]

    def _begin_forks(self, engine: Engine, failures: list[BaseException]) -> None:
        def lost() -> None:
            failures.append(RuntimeError("the fork server of the isolated tasks is gone"))
            engine.stop()

        if self._forks is not None:
            self._forks.start(lost)

    def _end_helpers(self) -> None:
        if self._forks is not None:
            self._forks.stop(time.monotonic() + self._config.kill_after_ms / 1_000)
        self._janitor.stop(time.monotonic() + _JANITOR_S)

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
        kill_after_s = config.kill_after_ms / 1_000
        desk = Desk(holdings, judge, self._hooks, self._testimony, namespace, state, kill_after_s)
        threads = ThreadRunner(desk, config.concurrency, loop)
        asyncs = LoopRunner(desk, config.concurrency, loop, first_slot=config.concurrency)
        apart = self._isolated(desk, loop)
        timeouts = Timeouts(threads, asyncs) if apart is None else Timeouts(threads, asyncs, apart)
        holdings.attach(threads, asyncs, timeouts, asyncs.tell, apart)
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

    def _isolated(self, desk: Desk, loop: asyncio.AbstractEventLoop) -> IsolatedRunner | None:
        if self._forks is None:
            return None
        slots = self._config.concurrency
        return IsolatedRunner(desk, slots, loop, 2 * slots, self._forks, self._config.kill_after_ms)

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
