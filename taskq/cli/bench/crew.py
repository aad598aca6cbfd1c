"""Worker processes of the run's own, and the rounds that are run with them: the queue is filled, then drained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from taskq.broker.client import Broker
from taskq.broker.commands import operating
from taskq.cli.bench import tasks, waiting
from taskq.cli.bench.draining import QUEUE, Ends, drain
from taskq.cli.bench.gauges import Gauges
from taskq.cli.bench.ground import forget
from taskq.cli.bench.measured import Drain, Enqueues, Idle
from taskq.cli.bench.producing import Ids, measure
from taskq.cli.output import line
from taskq.cli.trial.worker import Worker, WorkerFailed
from taskq.errors import ResultTimeout
from taskq.inspector.processes import processes as list_processes


class Round(NamedTuple):
    """What one round gave."""

    enqueues: Enqueues
    drain: Drain
    queued_bytes: float
    """Of Redis's memory, a task."""
    ended_bytes: float


class Crew:
    """A worker. Within the `with`, its processes are ready."""

    def __init__(self, broker: Broker, gauges: Gauges, directory: Path, processes: int) -> None:
        self.processes = processes
        self._broker, self._gauges = broker, gauges
        self._ends = Ends(broker)
        app = f"{tasks.__name__}:app"
        self._worker = Worker(directory, app, processes, "--namespace", broker.namespace.name)

    def __enter__(self) -> Self:
        try:
            self._worker.wait_until_ready(self._broker)
            known = self._broker.run(list_processes(self._broker.keys))
        except BaseException as error:
            self._end(error)
            raise
        self._gauges.pids = [self._worker.pid, *(one.pid for one in known if one.pid is not None)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gauges.pids = ()
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        self._worker.stop()
        if isinstance(error, WorkerFailed):
            line("taskq: the worker's log ends so:", error=True)
            for text in self._worker.last_words():
                line(f"  {text}", error=True)

    def round(self, kind: str, fill: Callable[[], Ids], more: Callable[[], Ids] = list) -> Round:
        """Fill the paused queue by `fill`, which is measured, and by `more`; then let the processes drain it."""
        (keys,) = self._broker.keys
        self._broker.call(operating.pause(keys, QUEUE))
        enqueues, ids, empty, full = measure(self._gauges, fill)
        ids += more()
        drained, ended = drain(
            self._broker, self._gauges, self._ends, self._worker, kind, self.processes, len(ids)
        )
        forget(self._broker, ids)
        return Round(
            enqueues=enqueues,
            drain=drained,
            queued_bytes=(full.memory_bytes - empty.memory_bytes) / enqueues.tasks,
            ended_bytes=(ended.memory_bytes - empty.memory_bytes) / len(ids),
        )

    def idle(self, trips: int, seconds: float) -> Idle:
        """Enqueue one task after the other, each to processes that wait.

        Raises:
            WorkerFailed: they do not run it.
        """
        try:
            return waiting.idle(trips, seconds)
        except ResultTimeout as error:
            self._worker.check()
            raise WorkerFailed(f"the worker waits, and does not run what is enqueued: {error}") from error
