"""Where a benchmark takes place: a real server, a namespace, real workers, and the gauges read from outside."""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from taskq.broker.client import Broker
from taskq.broker.commands import operating, reading
from taskq.broker.commands.producing import Envelope
from taskq.codec import CallCodec
from taskq.frame import FrameCodec
from taskq.handle import TaskHandle
from taskq.message import Message, encode_message, seal_message
from taskq.names import new_task_id
from taskq.record import parse_record
from taskq.task import Task
from taskq.worker import WorkerConfig
from tests.benchmarks.rows import Settings
from tests.benchmarks.tasks import app
from tests.servers import RedisServer
from tests.support import wait_until
from tests.workers import ROOT, Worker, cpu_seconds

READ = 500


@dataclass(frozen=True)
class Bench:
    """What a room is given: a server of its own and how thorough it is to be."""

    server: RedisServer
    settings: Settings
    folder: Path
    quick: bool
    record: bool

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    def stand(self, namespace: str = "") -> Stand:
        return Stand(self.server, self.folder, self.settings.log_level, namespace)


@dataclass(frozen=True)
class Spent:
    """What a stretch of work took. CPU is that of the workers, Redis's that of its scripts."""

    seconds: float
    cpu_us: float
    redis_us: float
    count: int

    @property
    def rate(self) -> float:
        return self.count / self.seconds

    @property
    def cpu_each(self) -> float:
        return self.cpu_us / self.count

    @property
    def redis_each(self) -> float:
        return self.redis_us / self.count


@dataclass
class _Watch:
    cpu: float
    redis_us: float
    began: float


class Stand:
    """A namespace on a server. Within the `with`, the tasks of the benchmarks enqueue there."""

    def __init__(self, server: RedisServer, folder: Path, log_level: str, namespace: str = "") -> None:
        self.server = server
        self.namespace = namespace or f"bench-{uuid.uuid4().hex[:8]}"
        self.broker = Broker(server.url, self.namespace)
        self.keys = self.broker.keys[0]
        self.workers: list[Worker] = []
        self._folder, self._log_level = folder, log_level
        self._client = server.client()
        self._frames = FrameCodec.of(app.config, self.namespace, 1)
        self._born = round(self.redis_ms()) // 60_000

    def __enter__(self) -> Self:
        self.use()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.end()
        self.broker.close()
        self._client.close()
        if error is not None:
            print(self._tails(), file=sys.stderr)

    def use(self) -> None:
        """Let the tasks enqueue here: the stand that was entered or used last has them."""
        app.use(self.broker)

    # -- workers

    def worker(self, **config: Any) -> Worker:
        """Start a worker on the tasks of the benchmarks, and wait until its processes are registered."""
        settings: dict[str, Any] = {
            "app": "tests.benchmarks.tasks:app",
            "url": self.server.url,
            "namespace": self.namespace,
            "log_level": self._log_level,
            **config,
        }
        log = self._folder / f"{self.namespace}-{len(self.workers)}.log"
        worker = Worker(WorkerConfig(**settings), log, {**os.environ, "PYTHONPATH": str(ROOT)})
        self.workers.append(worker)
        before = self._registered()
        worker.start()
        wanted = before + worker.config.processes
        wait_until(lambda: self._registered() >= wanted, 30, worker.tail)
        return worker

    def _registered(self) -> int:
        return int(self.broker.call(reading.read(self.keys, "ZCARD", self.keys.processes)))

    # -- work

    def fill(self, task: Task[..., Any], count: int, queues: Sequence[str] = ("default",)) -> list[str]:
        """Enqueue calls without arguments, in turn to each queue; gives the ids."""
        return self.store(task, [f"{queues[at % len(queues)]}:5" for at in range(count)])

    def store(
        self, task: Task[..., Any], lists: Sequence[str], args: bytes = b"", options: Iterable[str] = ()
    ) -> list[str]:
        """Enqueue a message to each of `lists`, in order, each with its own options as `enqueue.lua` takes them."""
        message = Message(task.name, args=args)
        body, signed = encode_message(message), self._frames.keys is not None
        ids = [new_task_id() for _ in lists]
        given = list(options) or [""] * len(ids)
        batch = 2_560 if len(body) < 10_000 else 10
        for start in range(0, len(ids), batch):
            some = slice(start, start + batch)
            envelopes = [
                Envelope(id, where, seal_message(message, id, self._frames) if signed else body, option)
                for id, where, option in zip(ids[some], lists[some], given[some], strict=True)
            ]
            self.broker.run(self.broker.store(envelopes))
        return ids

    @contextlib.contextmanager
    def paused(self, queues: Sequence[str] = ("default",)) -> Generator[None]:
        """Hold the queues while the body fills them."""
        for queue in queues:
            self.broker.call(operating.pause(self.keys, queue))
        yield
        for queue in queues:
            self.broker.call(operating.resume(self.keys, queue))

    def drain(self, task: Task[..., Any], count: int, queues: Sequence[str] = ("default",)) -> Spent:
        """Have the idle workers empty the queues; the time is Redis's, up to the last commit."""
        return self.drain_filled(count, queues, lambda: self.fill(task, count, queues))

    def drain_filled(self, count: int, queues: Sequence[str], fill: Callable[[], object]) -> Spent:
        """As `drain`, of what `fill` enqueues."""
        with self.paused(queues):
            fill()
            ended = self.succeeded()
            watch = self._watch()
        wait_until(lambda: self.succeeded() - ended >= count, 600, lambda: f"{count} ends\n{self._tails()}")
        return self._since(watch, count)

    def succeeded(self) -> int:
        """How many tasks have succeeded here so far; any other end is an error of the benchmark."""
        total = 0
        for minute in range(self._born, round(self.redis_ms()) // 60_000 + 1):
            counts: dict[Any, Any] = self._client.hgetall(self.keys.stats(minute))
            for label, count in counts.items():
                assert label.endswith((b"|S", b"|L")), f"{label!r}: {count!r}\n{self._tails()}"
                total += int(count) if label.endswith(b"|S") else 0
        return total

    def _tails(self) -> str:
        return "\n".join(worker.tail() for worker in self.workers)

    def results(self, handles: Iterable[TaskHandle[Any]], codec: CallCodec) -> list[Any]:
        """Read what ended tasks returned, without waiting."""
        ids = [handle.id for handle in handles]
        found: list[Any] = []
        for start in range(0, len(ids), READ):
            for record, _ in self.broker.call(reading.lookup(self.keys, ids[start : start + READ])):
                outcome = None if record is None else parse_record(record).outcome
                assert outcome is not None
                assert outcome.result is not None, outcome
                found.append(codec.decode_result(outcome.result))
        return found

    # -- gauges

    def redis_ms(self) -> float:
        """Redis's clock."""
        seconds, micros = self.broker.call(reading.read(self.keys, "TIME"))
        return int(seconds) * 1_000 + int(micros) / 1_000

    def script_us(self) -> float:
        """Microseconds that the server has spent in scripts."""
        stats: dict[str, Any] = self._client.info("commandstats")
        return float(stats.get("cmdstat_evalsha", {}).get("usec", 0))

    def used_memory(self) -> int:
        """What the server says it uses, in bytes."""
        memory: dict[str, Any] = self._client.info("memory")
        return int(memory["used_memory"])

    def pids(self) -> list[int]:
        """The supervisors and their children."""
        return [pid for worker in self.workers for pid in (worker.pid, *worker.children())]

    def _watch(self) -> _Watch:
        return _Watch(cpu_seconds(self.pids()), self.script_us(), self.redis_ms())

    def _since(self, watch: _Watch, count: int) -> Spent:
        ((last, _),) = self.broker.call(
            reading.read(self.keys, "XREVRANGE", self.keys.recent, "+", "-", "COUNT", 1)
        )
        return Spent(
            seconds=(int(last.split(b"-")[0]) - watch.began) / 1_000,
            cpu_us=(cpu_seconds(self.pids()) - watch.cpu) * 1e6,
            redis_us=self.script_us() - watch.redis_us,
            count=count,
        )
