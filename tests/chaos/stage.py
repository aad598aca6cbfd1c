"""Where a scenario plays: a server of its own, real workers and producers, a ledger, and what may be done to them.

Everything that is started here ends with the stage. What a scenario draws comes from `rng`, so that a seed repeats it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psutil
import redis

from taskq.broker.client import Broker
from taskq.broker.commands import reading
from taskq.worker import WorkerConfig
from tests.chaos import app as tasks
from tests.chaos import broken, ledger
from tests.chaos.checker import Complaint, Evidence
from tests.chaos.lag import Sampler
from tests.chaos.ledger import Entry
from tests.chaos.patching import altered
from tests.chaos.producer import Plan
from tests.chaos.sending import send
from tests.chaos.watch import Watcher
from tests.leaks import leftovers
from tests.proxy import ALTERED, Fate, Proxy, Words, all_pass
from tests.servers import RedisServer
from tests.support import wait_until
from tests.workers import ROOT, Worker, cpu_seconds

LEASE_S = 2.0
TASK_MS = 20
STANDSTILL_S = 6.0
"""A run in which nothing has moved for so long is over: what has not ended by then never will."""


class Host(Worker):
    """One `taskq worker` command, in a process group of its own, as if it had a machine to itself."""

    def __init__(
        self, config: WorkerConfig, log: Path, environ: dict[str, str], options: Sequence[str]
    ) -> None:
        super().__init__(config, log, environ)
        self._options = options

    def words(self) -> list[str]:
        module = "tests.chaos.broken" if broken.VARIABLE in self.environ else "taskq"
        return [sys.executable, "-m", module, "worker", *self._options]


class Producer:
    """One program that enqueues: tests/chaos/producer.py, or storm.py."""

    def __init__(self, module: str, plan: msgspec.Struct, log: Path, environ: dict[str, str]) -> None:
        self.path = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, msgspec.json.encode(plan).decode()],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )


class Stage:
    """One run of one scenario.

    Args:
        folder: for the server's data, the logs and the ledger; empty.
        server: not started yet.
        seed: of everything that is drawn.
        seconds: how long the scenario is to torture.
        control: the control (tests/chaos/controls) that breaks workers and producers; empty for none.
    """

    def __init__(
        self, folder: Path, server: RedisServer, seed: str, seconds: float, control: str = ""
    ) -> None:
        self.folder, self.server, self.seed, self.seconds, self.control = (
            folder,
            server,
            seed,
            seconds,
            control,
        )
        self.rng = random.Random(seed)
        self.namespace = f"chaos-{uuid.uuid4().hex[:8]}"
        self.ledger = folder / "ledger"
        self.ledger.mkdir(parents=True)
        self.hosts: list[Host] = []
        self.producers: list[Producer] = []
        self.complaints: list[Complaint] = []
        """What the rig itself found wrong: an exit code, a wait in vain."""
        self.lag = Sampler()
        self.busy = 0.0
        """The machine's load by processor time, 0 to 1, others' included."""
        self._retired: list[Host] = []
        self._names = 0
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Self:
        os.environ[ledger.VARIABLE] = str(self.ledger)
        if self.control:
            ALTERED.update(altered(getattr(broken.control(self.control), "CHANGES", {})))
        self._exits.callback(self._end_programs)
        self.server.start()
        self._exits.callback(self.server.stop)
        self.broker = Broker(self.server.url, self.namespace, patience=30.0)
        self._exits.callback(self.broker.close)
        self.broker.run(self.broker.namespace.meet(0))
        self.keys = self.broker.keys[0]
        self.watcher = self._exits.enter_context(Watcher(self.client(), self.keys, self.ledger))
        self._exits.enter_context(self.lag)
        psutil.cpu_percent()
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.busy = psutil.cpu_percent() / 100
        self._exits.close()

    def _end_programs(self) -> None:
        for producer in self.producers:
            producer.process.kill()
            producer.process.wait(10)
        for host in (*self.hosts, *self._retired):
            host.end()

    # -- who takes part

    def client(self) -> redis.Redis:
        """A client of the server, past any proxy; it repeats nothing."""
        return self.server.client(socket_timeout=5)

    def proxy(self, judge: Callable[[Words], Fate] = all_pass, **options: Any) -> Proxy:
        """Put a proxy before the server, which ends with the stage."""
        return self._exits.enter_context(Proxy(self.server.port, judge, **options))

    def host(
        self,
        *options: str,
        processes: int = 2,
        concurrency: int = 4,
        url: str = "",
        environ: dict[str, str] | None = None,
        wait: bool = True,
    ) -> Host:
        """Start `taskq worker` with further options of its command line; with `wait`, until it is registered."""
        self._names += 1
        name = f"host-{self._names}"
        config = WorkerConfig(
            app="tests.chaos.app:app", name=name, processes=processes, concurrency=concurrency
        )
        given = [
            *("tests.chaos.app:app", "--url", url or self.server.url, "--namespace", self.namespace),
            *("--name", name, "-p", str(processes), "-c", str(concurrency), "--lease", f"{LEASE_S:g}s"),
            *("--grace", "10s", "--log-json"),
        ]
        host = Host(config, self.folder / f"{name}.log", self._environ(environ), [*given, *options])
        self.hosts.append(host)
        host.start()
        if wait:
            self.wait_ready(host)
        return host

    def start_hosts(self, count: int, *options: str, **given: Any) -> None:
        """Start so many alike at once, as `host` does each, and wait until all are registered."""
        for host in [self.host(*options, **given, wait=False) for _ in range(count)]:
            self.wait_ready(host)

    def wait_ready(self, host: Host, timeout: float = 20) -> None:
        """Wait until a host has as many registered processes as it is to have."""

        def ready() -> bool:
            assert host.running(), f"{host.config.name} has ended:\n{host.tail()}"
            return self._registered(host) >= host.config.processes

        wait_until(ready, timeout, lambda: f"{host.config.name} to be ready:\n{host.tail()}")

    def _registered(self, host: Host) -> int:
        wanted = set(host.children())
        return sum(pid in wanted for pid in self.processes().values())

    def processes(self) -> dict[str, int]:
        """The names that the server has of processes, with their pids."""
        names = [
            name.decode()
            for name in self.broker.call(reading.read(self.keys, "ZRANGE", self.keys.processes, 0, -1))
        ]
        infos = {
            name: self.broker.call(reading.read(self.keys, "GET", self.keys.info(name))) for name in names
        }
        return {name: msgspec.msgpack.decode(info)["pid"] for name, info in infos.items() if info}

    def produce(
        self,
        *,
        rate: float = 150.0,
        seconds: float | None = None,
        url: str = "",
        environ: dict[str, str] | None = None,
        **plan: Any,
    ) -> Producer:
        """Start a program that enqueues: see `Plan`. By default for the whole of the scenario's time."""
        seconds = self.seconds if seconds is None else seconds
        whole = Plan(seed=f"{self.seed}-{self._names + 1}", rate=rate, seconds=seconds, **plan)
        return self.program("tests.chaos.producer", whole, url, environ)

    def program(
        self, module: str, plan: msgspec.Struct, url: str = "", environ: dict[str, str] | None = None
    ) -> Producer:
        """Start a program with a plan of its own."""
        self._names += 1
        server = {"TASKQ_REDIS_URL": url or self.server.url, "TASKQ_NAMESPACE": self.namespace}
        log = self.folder / f"producer-{self._names}.log"
        producer = Producer(module, plan, log, self._environ({**server, **(environ or {})}))
        self.producers.append(producer)
        return producer

    def steady(self, hosts: int = 2, producers: int = 2, rate: float = 300.0, url: str = "") -> None:
        """Start the usual load: waits of 20 ms, sync and async, about `rate` a second in all."""
        self.start_hosts(hosts, url=url)
        for _ in range(producers):
            self.produce(rate=rate / producers)
        self.wait_starts(20)

    def enqueue(self, task: str, *args: Any, **using: Any) -> str | None:
        """Enqueue one call of a function of tests/chaos/app.py from here; gives its id, None if it was refused."""
        with self.sending():
            sender = getattr(tasks, task)
            return send(sender.using(**using) if using else sender, *args)

    @contextlib.contextmanager
    def sending(self) -> Generator[None]:
        """Have the functions of tests/chaos/app.py enqueue here for the body."""
        before = tasks.app.use(self.broker)
        try:
            yield
        finally:
            tasks.app.use(before)

    def _environ(self, more: dict[str, str] | None) -> dict[str, str]:
        control = {broken.VARIABLE: self.control} if self.control else {}
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "",
            ledger.VARIABLE: str(self.ledger),
            **control,
            **(more or {}),
        }

    def retire(self, host: Host) -> None:
        """Stop a host as an operator would; that it does not end, or not well, is a complaint."""
        self.forget(host)
        try:
            code = host.stop(20) if host.running() else host.wait()
        except AssertionError as error:
            self._complain("exit", str(error))
        else:
            if code:
                self._complain("exit", f"{host.config.name} ended with {code}: {host.tail()[-1_000:]}")

    def forget(self, host: Host) -> None:
        """Leave a host to itself: how it ends is the scenario's; what is left of it ends with the stage."""
        self.hosts.remove(host)
        self._retired.append(host)

    # -- time

    def at_random(self, least: float, most: float) -> Iterator[float]:
        """Give the time that is over, again and again at random intervals, until the scenario's time is over."""
        end = time.monotonic() + self.seconds
        while True:
            pause = self.rng.uniform(least, most)
            if time.monotonic() + pause > end:
                time.sleep(max(0.0, end - time.monotonic()))
                return
            time.sleep(pause)
            yield self.seconds - (end - time.monotonic())

    def wait_starts(self, count: int, timeout: float = 20) -> None:
        """Wait until so many tasks have started in all."""
        wait_until(
            lambda: self.watcher.starts >= count, timeout, lambda: f"{count} starts: {self.watcher.starts}"
        )

    # -- what is done to them

    def note(self, event: str, word: str = "-", pid: int = 0) -> None:
        """Write an event of the scenario into the ledger."""
        ledger.write(event, "-", pid, word=word)

    def kill_child(self, host: Host) -> None:
        """End one process of a host on the spot (SIGKILL)."""
        children = sorted(host.children())
        if children:
            pid = self.rng.choice(children)
            self.note("kill", "child", pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_host(self, host: Host) -> None:
        """End a worker and all its processes on the spot, as a machine that dies; it is not started again."""
        for pid in (host.pid, *host.children()):
            self.note("kill", "host", pid)
        host.end()
        self.hosts.remove(host)

    @contextlib.contextmanager
    def paused(self, host: Host) -> Generator[None]:
        """Stop a worker and all its processes for the body (SIGSTOP), as a machine that stands still."""
        self.note("stop", "host", host.pid)
        with host.paused():
            yield
        self.note("back", "host", host.pid)

    @contextlib.contextmanager
    def server_away(self) -> Generator[None]:
        """Kill the server (SIGKILL), and start it again on the same data after the body."""
        self.note("kill", "server", self.server.pid)
        self.server.kill()
        yield
        self.server.start()
        self.note("back", "server", self.server.pid)

    # -- gauges

    def pids(self) -> list[int]:
        """The supervisors and their processes."""
        return [pid for host in self.hosts for pid in (host.pid, *host.children())]

    def cpu_seconds(self) -> float:
        """The processor time that the workers have used so far; those that died do not count."""
        return cpu_seconds(self.pids())

    # -- the end

    def settle(self) -> None:
        """Wait until producers have ended and all is done, or nothing moves any more; then stop the workers."""
        for producer in self.producers:
            try:
                code = producer.process.wait(60)
            except subprocess.TimeoutExpired:
                code = -1
            if code:
                tail = producer.path.read_text(errors="replace")[-1_000:]
                self._complain("producer", f"{producer.path.stem} ended with {code}: {tail}")
        self._look()
        while not self.watcher.at_rest() and time.monotonic() - self.watcher.moved < STANDSTILL_S:
            time.sleep(0.2)
        for host in self.hosts:
            if not host.running():
                self._complain("exit", f"{host.config.name} has ended by itself: {host.tail()[-1_000:]}")
        for host in list(self.hosts):
            self.retire(host)

    def evidence(self) -> Evidence:
        """Give what the run has left, once it is settled."""
        self._look()
        residue: list[str] = []
        try:
            with self.client() as client:
                residue = leftovers(client, self.keys)
        except redis.RedisError as error:
            self._complain("server", f"it does not answer at the end: {error!r}")
        watcher = self.watcher
        states, seen, outcomes = dict(watcher.states), dict(watcher.seen), dict(watcher.outcomes)
        return Evidence(self.entries(), states, seen, outcomes, residue)

    def entries(self) -> list[Entry]:
        """Give what stands in the ledger so far, in the order of time."""
        return ledger.read(self.ledger)

    def _look(self) -> None:
        try:
            self.watcher.look(again=True)
        except redis.RedisError as error:
            self._complain("server", f"it does not answer: {error!r}")

    def _complain(self, kind: str, text: str) -> None:
        self.complaints.append(Complaint(kind, text))
