"""Jobs, runners and outcomes for tests of the worker's parts, without processes and without a server."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from taskq import TaskQ
from taskq.message import Message
from taskq.worker.job import Gauge, Job

app = TaskQ("tests")
_numbers = itertools.count(1)


async def nothing() -> None:
    """An async task's function."""


def gauge(seconds: float | None = None, *, is_async: bool = False, **options: Any) -> Gauge:
    """A task with options, and how long it takes here; None: it never ran."""

    def function() -> None: ...

    name = f"tests.task{next(_numbers)}"
    made = Gauge(app.task(name=name, **options)(nothing if is_async else function))
    if seconds is not None:
        made.ran(seconds)
    return made


def job(
    of: Gauge | None = None,
    *,
    careful: bool = False,
    failures: int = 0,
    crashes: int = 0,
    epoch: int = 0,
    received: float = 0.0,
    process: str = "p",
    expires_ms: int = 0,
    **message: Any,
) -> Job:
    """A claimed task; `message` are fields of its message."""
    of = of or gauge()
    number = next(_numbers)
    said = Message(of.task.name, **message)
    return Job(
        f"id{number}", number, said, of, failures, crashes, careful, expires_ms, process, epoch, received
    )


class FakeRunner:
    """Takes jobs and runs none by itself; writes down what it was told."""

    def __init__(self) -> None:
        self.waiting: deque[Job] = deque()
        self.now: list[Job] = []
        self.nudges = 0
        self.interrupts: list[tuple[Job, type[BaseException]]] = []

    def offer(self, jobs: Sequence[Job]) -> None:
        self.waiting.extend(jobs)

    def nudge(self) -> None:
        self.nudges += 1

    def running(self) -> list[Job]:
        return list(self.now)

    def interrupt(self, job: Job, error: type[BaseException]) -> None:
        self.interrupts.append((job, error))

    def begin(self, at: float = 0.0) -> Job:
        """Start the first job that waits."""
        job = self.waiting.popleft()
        job.started = at or 1.0
        job.slot = 0
        self.now.append(job)
        return job

    def end(self, job: Job, tell: Callable[[], None]) -> None:
        """End a job, and tell what became of it."""
        self.now.remove(job)
        tell()
