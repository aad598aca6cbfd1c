"""The course of a run: the server is looked over, then each figure is taken in turn."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from taskq.broker.client import Broker
from taskq.cli.bench import ground, producing, waiting
from taskq.cli.bench.crew import Crew, Round
from taskq.cli.bench.gauges import Gauges
from taskq.cli.bench.leftovers import remove_leftovers
from taskq.cli.bench.limits import limits
from taskq.cli.bench.measured import Measured, Memory, Report
from taskq.cli.bench.surroundings import SlowLog, client_of, server_of
from taskq.cli.bench.tasks import anothing, app, nothing
from taskq.cli.trial.environment import orderly_end, own_directory, own_environment
from taskq.errors import BrokerError
from taskq.inspector.doctor import many
from taskq.task import Task

KEPT = ("TASKQ_SIGNING_KEYS", "TASKQ_SIGNING_KEYS_FILE", "TASKQ_COMPRESS_OVER", "TASKQ_MAX_PAYLOAD")
"""Settings of the user's that cost something, or allow it: they hold in the run, too."""
_ABSOLUTE = "TASKQ_SIGNING_KEYS_FILE"
_WARM_UP = 1_000
"""Tasks of a first drain, which says how many the others may have."""
_OVERHEAD_BYTES = 600
"""More than a task takes in Redis beside its payload."""

Tell = Callable[[str], None]


class Plan(NamedTuple):
    """What is asked for. `tasks` None: as many as take some seconds."""

    processes: int
    tasks: int | None
    payload_bytes: int
    quick: bool

    def seconds(self, full: float, quick: float) -> float:
        return quick if self.quick else full


def perform(plan: Plan, server: str, tell: Tell) -> Report:
    """Measure on the server of that URL, or on an embedded one if it is empty; leaves nothing behind.

    Raises:
        ConfigurationError: there is no server that tasks could run on, or not room enough for them.
        WorkerFailed: the worker does not run, or does nothing.
        BrokerError: the server is not reached, fails or refuses.
    """
    with ExitStack() as ends:
        ends.enter_context(own_environment(*KEPT))
        ends.enter_context(orderly_end())
        if file := os.environ.get(_ABSOLUTE):
            os.environ[_ABSOLUTE] = str(Path(file).absolute())  # the worker has another directory
        directory = ends.enter_context(own_directory("bench"))
        url = ends.enter_context(ground.server_url(server, directory))
        broker = ground.own_namespace(url)
        ends.callback(broker.close)
        ground.reach(broker)
        _tidy(broker, tell)  # before the look at its memory, which may be full of just that
        doctor = ground.look_over(broker)
        ends.enter_context(ground.removed_afterwards(broker))
        os.environ["TASKQ_REDIS_URL"] = url  # not on a command line: it may have a password
        ends.callback(app.use, app.use(broker))
        figures = _Run(plan, broker, directory, tell).figures(embedded=not server)
        return Report(figures=figures, limits=limits(figures), doctor=doctor)


def _tidy(broker: Broker, tell: Tell) -> None:
    """Remove what killed runs have left, and say so; where the server refuses, that is said, and no more."""
    try:
        for name, keys in remove_leftovers(broker).items():
            tell(f"removed {many(keys, 'key')} of {name}, a run that was killed")
    except BrokerError as error:
        tell(f"what killed runs have left could not be removed: {error}")


class _Run:
    def __init__(self, plan: Plan, broker: Broker, directory: Path, tell: Tell) -> None:
        self._plan, self._broker, self._directory, self._tell = plan, broker, directory, tell
        self._gauges = Gauges(broker)
        self._call = (os.urandom(plan.payload_bytes),) if plan.payload_bytes else ()

    def figures(self, *, embedded: bool) -> Measured:
        began = time.monotonic()
        server = server_of(self._broker, self._gauges, embedded=embedded)
        self._gauges.redis_here = server.is_here
        self._tell(f"{server.name} at {server.url}, namespace {self._broker.namespace.name}")
        if server.other_clients:
            others = many(server.other_clients, "other client")
            self._tell(f"{others} of this server will feel the run, and the figures are shared with them")
        each = self._plan.payload_bytes + _OVERHEAD_BYTES
        usual = 10_000 if self._plan.quick else 100_000
        most = ground.most_tasks(self._gauges.info(), each, self._plan.tasks, usual)
        slowlog, fsyncs = SlowLog(self._broker), self._gauges.read().late_fsyncs
        self._tell("round trips of a PING")
        ping = waiting.ping(self._broker.url, self._plan.seconds(1.0, 0.3))
        with Crew(self._broker, self._gauges, self._directory, 1) as crew:
            self._tell("single enqueues")
            warm_up = min(_WARM_UP, most)
            single = crew.round(
                "sync", lambda: self._one_by_one(most), lambda: self._in_batches(nothing, warm_up)
            )
            count = self._count(single, most)
            self._tell("a task for an idle worker, again and again")
            idle = crew.idle(*((60, 1.0) if self._plan.quick else (400, 5.0)))
            sync = self._sync(crew, count)
            gathered = self._round(
                crew, "async", count, lambda: producing.at_once(anothing, self._call, count)
            )
        drains = [sync.drain, gathered.drain]
        if self._plan.processes > 1:
            with Crew(self._broker, self._gauges, self._directory, self._plan.processes) as crew:
                drains.append(self._sync(crew, count).drain)
                several = self._round(crew, "async", count, lambda: self._in_batches(anothing, count))
                drains.append(several.drain)
        return Measured(
            namespace=self._broker.namespace.name,
            quick=self._plan.quick,
            seconds=time.monotonic() - began,
            server=server,
            client=client_of(app.config.signing_keys),
            ping_ms=ping,
            enqueue=single.enqueues,
            enqueue_many=sync.enqueues,
            aenqueue=gathered.enqueues,
            idle=idle,
            drains=drains,
            memory=Memory(
                payload_bytes=self._plan.payload_bytes,
                queued_bytes_per_task=sync.queued_bytes,
                ended_bytes_per_task=sync.ended_bytes,
            ),
            slowlog=slowlog.read(),
            late_fsyncs=self._gauges.read().late_fsyncs - fsyncs,
        )

    def _count(self, single: Round, most: int) -> int:
        """How many tasks a drain has: as many as are asked for, or as take some seconds."""
        if self._plan.tasks is not None:
            return self._plan.tasks
        return max(ground.LEAST, min(most, round(single.drain.per_s * self._plan.seconds(4.0, 0.8))))

    def _one_by_one(self, most: int) -> list[str]:
        return producing.one_by_one(nothing, self._call, most, self._plan.seconds(2.0, 0.5))

    def _in_batches(self, task: Task[..., None], count: int) -> list[str]:
        return producing.in_batches(task, self._call, count)

    def _sync(self, crew: Crew, count: int) -> Round:
        return self._round(crew, "sync", count, lambda: self._in_batches(nothing, count))

    def _round(self, crew: Crew, kind: str, count: int, fill: Callable[[], list[str]]) -> Round:
        self._tell(f"{count:,} {kind} tasks, {many(crew.processes, 'process', 'es')}")
        return crew.round(kind, fill)
