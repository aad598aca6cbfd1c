"""From what a claim gave to jobs: read, held against the code, refused where running would be wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from taskq.app import TaskQ
from taskq.broker.commands.working import Claimed, Kind, Outcome7, Rest, parse_rest
from taskq.errors import BadMessage, BadName, BadSignature, CrashedTooOften
from taskq.frame import READS_OFFLOADED, UnknownFrame, UnknownKey
from taskq.message import Message, open_message
from taskq.names import check_task_name
from taskq.signing import KNOWS_KEY
from taskq.task import Task
from taskq.worker.job import Gauge, Job
from taskq.worker.verdict import Judge, Verdict

log = logging.getLogger("taskq.worker")

_YIELD_MS = 50
"""How much later who gave back what others know looks for what falls due: else it would take it again."""


def names_of(app: TaskQ) -> dict[str, str]:
    """Give what a process registers as known: the app's tasks with their queues, the keys it has, what it can fetch."""
    names = {task.name: task.options.queue for task in app.tasks.values()}
    for key_id in keys.ids if (keys := app.frames.keys) else ():
        names[KNOWS_KEY + key_id] = "default"
    if app.payloads.store is not None:
        names[READS_OFFLOADED] = "default"
    return names


@dataclass(slots=True)
class Taken:
    """What became of a claim's tasks.

    Jobs to run, verdicts on those that must not, (claimed, task) to park, and, as `settle` takes them, those that
    nobody can read.
    """

    jobs: list[Job] = field(default_factory=list[Job])
    verdicts: list[tuple[Job, Verdict]] = field(default_factory=list[tuple[Job, Verdict]])
    unknown: list[tuple[Claimed, str]] = field(default_factory=list[tuple[Claimed, str]])
    unreadable: list[Outcome7] = field(default_factory=list[Outcome7])


class Intake:
    """Knows the app's tasks and how long each takes here."""

    def __init__(self, tasks: Mapping[str, Task[..., Any]], judge: Judge) -> None:
        self._gauges = {name: Gauge(task) for name, task in tasks.items()}
        self._tasks = tasks
        self._judge = judge
        self._frames = judge.frames
        self._rest = lru_cache(1024)(parse_rest)  # the same few bytes for every plain task
        self.yields_ms = 0
        """How much later than others this process looks for what falls due."""

    def take(self, claimed: Sequence[Claimed], process: str, epoch: int, now: float) -> Taken:
        """Sort what came; `now` is monotonic."""
        taken = Taken()
        for one in claimed:
            try:
                rest = self._rest(one.rest)
                message, signed = open_message(one.message, one.id, rest.queue, self._frames)
                if message.payload is not None and self._judge.payloads.store is None:
                    log.error("task %s waits for a worker with a store: its arguments are offloaded", one.id)
                    taken.unknown.append((one, READS_OFFLOADED))
                    continue
                gauge = self._gauges.get(message.task) or self._declared_late(message.task)
            except (UnknownFrame, UnknownKey) as error:
                log.error(
                    "task %s is not run, and set aside until a worker starts that can read it: %s",
                    one.id,
                    error,
                )
                taken.unknown.append((one, error.parked_under))
                continue
            except (BadMessage, BadName, ValueError) as error:
                why = "is not run" if isinstance(error, BadSignature) else "cannot be read"
                log.error("task %s %s and is quarantined: %s", one.id, why, error)
                taken.unreadable.append(self._judge.unreadable(one.id, one.g, error))
                continue
            if gauge is None:
                taken.unknown.append((one, message.task))
                continue
            job = self._job(one, message, gauge, rest, process, epoch, now)
            job.signed = signed
            if rest.crashes >= job.task.options.max_crashes:
                died = CrashedTooOften(
                    f"{rest.crashes} times its process died, or had to be killed, while it ran"
                )
                taken.verdicts.append((job, self._judge.ended(job, Kind.FAILED, died)))
                continue
            if job.task.options.ack == "early":
                job.outcome_given = True
                job.careful = False  # started once at most, it cannot kill one process after the other
                taken.verdicts.append((job, self._committed_at_start(job)))
            taken.jobs.append(job)
        self.yields_ms = _YIELD_MS if taken.unknown else 0
        return taken

    def _committed_at_start(self, job: Job) -> Verdict:
        """The verdict on a job with `ack="early"`: it succeeded, whatever it does."""
        verdict = self._judge.succeeded(job, None, 0, 0.0)
        verdict.still_runs = True
        return verdict

    def _declared_late(self, name: str) -> Gauge | None:
        task = self._tasks.get(name)
        if task is None:
            check_task_name(name)  # it becomes part of a key
            return None
        gauge = self._gauges[name] = Gauge(task)
        return gauge

    @staticmethod
    def _job(
        one: Claimed, message: Message, gauge: Gauge, rest: Rest, process: str, epoch: int, now: float
    ) -> Job:
        return Job(
            one.id,
            one.g,
            message,
            gauge,
            rest.failures,
            rest.crashes,
            rest.careful,
            rest.expires_ms,
            process,
            epoch,
            now,
        )
