"""Is a task safe to run twice? Run it as if its process had died, or twice at once, and look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from taskq.broker.commands.working import Kind
from taskq.record import decode_outcome
from taskq.testing.stepped import SteppedWorker
from taskq.worker.job import Job
from taskq.worker.verdict import Verdict

KillAfter = Literal["claim", "run", "settle"]


class Delivery(msgspec.Struct, frozen=True):
    """What one run of the task came to, whether that was written or not."""

    result: Any = None
    error: BaseException | None = None
    committed: bool = False
    """True if it counts; False if the process had died, or lost its lease, before it could say so."""
    text: str = ""
    """All of that as it is shown: what is secret in it is masked."""

    def __repr__(self) -> str:
        return self.text


class Chaos:
    """Has one call run under a misfortune."""

    def __init__(self, worker: SteppedWorker) -> None:
        self._worker = worker
        self.deliveries: list[Delivery] = []
        """What the runs came to, in that order."""
        self._dead = False
        self._lost: Job | None = None

    def runs(self, id: str, kill_after: KillAfter | None, duplicate: bool) -> Iterator[Job]:
        """Deliver the task that was enqueued last, and is alone; each job that comes is to be run."""
        worker = self._worker
        first = worker.take()
        if first is None:
            raise RuntimeError(f"task {id} is not ready: it has a delay, or its queue is paused")
        if first.id != id:
            raise RuntimeError(
                f"chaos() runs one task alone, and {first.task.name} ({first.id}) is ready: run() it first"
            )
        if kill_after is not None:
            if kill_after != "claim":
                self._dead = kill_after == "run"
                yield first
                self._dead = False
            worker.die()
            first = worker.take()
        if first is None:  # it had ended
            return
        if duplicate:
            self._lost = first
            worker.die()
            second = worker.take()
            if second is not None:
                yield second
        yield first

    def heed(self, job: Job, verdict: Verdict) -> bool:
        """Note what a run came to; False if its process is to be dead by now."""
        if verdict.still_runs:
            return not self._dead
        committed = not self._dead and job is not self._lost
        result = None
        if verdict.kind is Kind.SUCCEEDED:
            data = decode_outcome(verdict.outcome).result
            result = None if data is None else job.task.codec.decode_result(data, trusted=True)
        shown = job.task.codec.redaction.shown(result)
        text = job.veil().over(f"Delivery(result={shown!r}, error={verdict.error!r}, committed={committed})")
        self.deliveries.append(Delivery(result, verdict.error, committed, text))
        return committed
