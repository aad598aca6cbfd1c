"""Real workers for tests: `Yard` has a server, an app to enqueue by, a ledger, and the workers that run.

The ledger is a file that tasks write to (tests/apps/ledger.py). It is the judge: what taskq itself says of
its work does not count where it can be read there.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psutil
import pytest

from taskq import TaskHandle, TaskQ
from taskq.inspector.processes import Process, processes
from taskq.worker import WorkerConfig
from tests.apps import ledger
from tests.leaks import leftovers
from tests.servers import NoServer, RedisServer
from tests.support import wait_until

ROOT = Path(__file__).parents[1]
LEASE_S = 2.0

_RUN = """
import sys, msgspec
from taskq.worker import Supervisor, WorkerConfig
sys.exit(Supervisor(msgspec.json.decode(sys.argv[1], type=WorkerConfig)).run())
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a ledger. `at` is CLOCK_MONOTONIC in seconds, which all processes of a machine share."""

    event: str
    id: str
    attempt: int
    pid: int
    at: float
    words: tuple[str, ...]


class Ledger:
    """What tasks wrote down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def entries(self, event: str | None = None, id: str | None = None) -> list[Entry]:
        lines = self.path.read_text().splitlines()
        found = [
            Entry(what, task, int(attempt), int(pid), int(ns) / 1e9, tuple(words))
            for what, task, attempt, pid, ns, *words in map(str.split, lines)
        ]
        return [entry for entry in found if event in (None, entry.event) and id in (None, entry.id)]

    def starts(self, id: str | None = None) -> list[Entry]:
        return self.entries("start", id)

    def ends(self, id: str | None = None) -> list[Entry]:
        return self.entries("end", id)

    def counts(self, event: str = "start") -> Counter[str]:
        """How often each task has this event."""
        return Counter(entry.id for entry in self.entries(event))

    def wait(self, event: str, id: str | None = None, count: int = 1, timeout: float = 10) -> list[Entry]:
        """Wait until there are `count` entries, and give what there is then."""

        def enough() -> list[Entry]:
            found = self.entries(event, id)
            return found if len(found) >= count else []

        def message() -> str:
            return f"{count} {event!r} in the ledger, which has\n{self.path.read_text()[-3000:]}"

        return wait_until(enough, timeout, message)

    def runs(self) -> list[tuple[Entry, float]]:
        """Each start, with when that run ended; a run without an end lasts for ever."""
        found: list[tuple[Entry, float]] = []
        for start in self.starts():
            ends = [
                entry.at
                for entry in self.entries(id=start.id)
                if entry.event in ("end", "left") and entry.at >= start.at and entry.pid == start.pid
            ]
            found.append((start, min(ends, default=float("inf"))))
        return found


class Worker:
    """One `taskq worker` as a process of its own, in a process group of its own."""

    def __init__(self, config: WorkerConfig, log: Path, environ: dict[str, str]) -> None:
        self.config = config
        self.path = log
        self.environ = environ
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the worker was not started"
        return self._process

    @property
    def pid(self) -> int:
        """The supervisor's."""
        return self.process.pid

    def words(self) -> list[str]:
        """The command that it is started with."""
        return [sys.executable, "-c", _RUN, msgspec.json.encode(self.config).decode()]

    def start(self) -> None:
        with self.path.open("ab") as log:
            self._process = subprocess.Popen(
                self.words(),
                cwd=ROOT,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def running(self) -> bool:
        return self.process.poll() is None

    def children(self) -> list[int]:
        """The pids of the child processes that live now."""
        try:
            found = psutil.Process(self.pid).children()
            return [child.pid for child in found if child.status() != psutil.STATUS_ZOMBIE]
        except psutil.NoSuchProcess:
            return []

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        os.kill(self.pid, number)

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor and all its children at once, as a terminal or a lost host does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    @contextlib.contextmanager
    def paused(self) -> Generator[None]:
        """Stop the supervisor and its children for the body; a thread of theirs may run on for a moment before."""
        pids = [self.pid, *self.children()]
        self.send_all(signal.SIGSTOP)
        try:
            wait_until(lambda: all(psutil.Process(pid).status() == psutil.STATUS_STOPPED for pid in pids))
            yield
        finally:
            self.send_all(signal.SIGCONT)

    def wait(self, timeout: float = 15) -> int:
        """Wait for its end and give the exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker did not end within {timeout:g} s:\n{self.tail()}") from None

    def stop(self, timeout: float = 15) -> int:
        """Stop it as an operator would and give the exit code."""
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def end(self) -> None:
        """End it and whatever it has left, however it stands."""
        if self._process is not None:
            self.send_all(signal.SIGKILL)
            self._process.wait(10)

    def log(self) -> list[dict[str, Any]]:
        """Its log, line by line. What is no JSON, as an interpreter's last words, has only a `message`."""
        lines: list[dict[str, Any]] = []
        for line in self.path.read_text(errors="replace").splitlines():
            try:
                lines.append(msgspec.json.decode(line, type=dict[str, Any]))
            except msgspec.DecodeError:
                lines.append({"message": line, "level": ""})
        return lines

    def says(self, text: str) -> list[dict[str, Any]]:
        """The lines of its log that contain `text`."""
        return [line for line in self.log() if text in line["message"]]

    def tail(self) -> str:
        return "\n".join(line[:300] for line in self.path.read_text(errors="replace").splitlines()[-40:])


class Yard:
    """A server with a namespace, and all that runs there. Ends what it started when it is left.

    Args:
        folder: where the server's data, the logs and the ledger go.
        kind: the kind of the server.
        server: one that exists already, in place of an own one.
    """

    def __init__(self, folder: Path, kind: str = "redis", server: RedisServer | None = None) -> None:
        self.folder = folder
        self.namespace = f"yard-{uuid.uuid4().hex[:12]}"
        if server is None:
            try:
                server = RedisServer(kind, folder / "server")
            except NoServer as error:
                pytest.skip(str(error))
        self.server = server
        self.ledger = Ledger(folder / "ledger")
        self.workers: list[Worker] = []
        self._names = 0
        self._app: TaskQ | None = None

    def __enter__(self) -> Self:
        if not self.server.running():
            self.server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.end()
        if self._app is not None:
            self._app.close()
        self.server.stop()
        if error is not None:
            for worker in self.workers:
                print(f"--- {worker.path.name}\n{worker.tail()}")

    @property
    def app(self) -> TaskQ:
        """What tests enqueue by. It declares no task: calls go by their names, as `TASKS.MODULE.FUNCTION`."""
        if self._app is None:
            self._app = TaskQ("tests", redis_url=self.server.url, namespace=self.namespace)
        return self._app

    def send(self, task: str, *args: Any, queue: str | None = None, **using: Any) -> TaskHandle[Any]:
        """Enqueue a call of the task `MODULE.FUNCTION` of tests/apps; `using` as in `Sender.using`."""
        sender = self.app.named(f"tests.tests.apps.{task}", queue or "default")
        return (sender.using(**using) if using else sender).enqueue(*args)

    def send_many(self, task: str, calls: Iterable[tuple[Any, ...]], **using: Any) -> list[TaskHandle[Any]]:
        """Enqueue many calls of one task in batches."""
        sender = self.app.named(f"tests.tests.apps.{task}", using.pop("queue", "default"))
        sent = (sender.using(**using) if using else sender).enqueue_many(list(calls))
        return [one.get() for one in sent]

    def worker(self, app: str = "basic", *, wait: bool = True, **config: Any) -> Worker:
        """Start a worker on the app of tests/apps/`app`.py; with `wait`, until its processes are ready."""
        self._names += 1
        settings: dict[str, Any] = {
            "app": app if ":" in app else f"tests.apps.{app}:app",
            "url": self.server.url,
            "namespace": self.namespace,
            "name": f"worker-{self._names}",
            "lease_ms": round(LEASE_S * 1_000),
            "grace_ms": 10_000,
            "log_json": True,
        }
        environ = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONFAULTHANDLER": "",
            ledger.VARIABLE: str(self.ledger.path),
        }
        worker = Worker(
            WorkerConfig(**{**settings, **config}), self.folder / f"worker-{self._names}.log", environ
        )
        self.workers.append(worker)
        worker.start()
        if wait:
            self.wait_ready(worker)
        return worker

    def wait_ready(self, worker: Worker, timeout: float = 15) -> None:
        """Wait until as many processes as the worker is to have are registered."""

        def ready() -> bool:
            assert worker.running(), f"the worker has ended:\n{worker.tail()}"
            return len(self.processes(worker)) == worker.config.processes

        wait_until(ready, timeout, lambda: f"{worker.config.name} to be ready:\n{worker.tail()}")

    def processes(self, worker: Worker | None = None) -> list[Process]:
        """The processes, of one worker or of all, that hold a lease."""
        found = self.app.broker.run(processes(self.app.broker.keys))
        return [one for one in found if one.lease_ms is not None and worker in (None, self._named(one.name))]

    def _named(self, name: str | None) -> Worker | None:
        return next((worker for worker in self.workers if worker.config.name == name), None)

    def stats(self) -> Counter[str]:
        """How many outcomes of each kind (the letters of settle.lua) were committed."""
        found: Counter[str] = Counter()
        keys = self.app.broker.keys[0]
        with self.server.client() as client:
            for key in client.scan_iter(match=keys.stats(0)[:-1] + "*"):
                counts: dict[Any, Any] = client.hgetall(key)
                for label, count in counts.items():
                    found[label.decode().partition("|")[2]] += int(count)
        return found

    def states(self, handles: Sequence[TaskHandle[Any]]) -> Counter[str]:
        """How many of the tasks stand where."""
        return Counter(handle.status().value for handle in handles)

    def wait_ended(self, handles: Sequence[TaskHandle[Any]], timeout: float = 15) -> Counter[str]:
        """Wait until all tasks have ended, in whatever way, and count the ways."""
        left = list(handles)

        def ended() -> bool:
            left[:] = [handle for handle in left if not handle.ready()]
            return not left

        wait_until(ended, timeout, lambda: f"{len(left)} task(s) to end; they are {self.states(left)}")
        return self.states(handles)

    def leftovers(self) -> list[str]:
        """What must not be there once no task is left and no worker runs: leases, holds, keys without TTL."""
        with self.server.client() as client:
            return leftovers(client, self.app.broker.keys[0])


def cpu_seconds(pids: Iterable[int]) -> float:
    """The processor time that processes have used so far."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def steadily(condition: Callable[[], bool], seconds: float, message: str) -> None:
    """Fail as soon as `condition` is false within the given time: for what must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), message
        time.sleep(0.02)
