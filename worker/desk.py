"""What both kinds of runners share: whether a job may start, its context, and what its end means."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from taskq.broker.commands.working import FAILED, RETRY, Kind
from taskq.broker.namespace import Namespace
from taskq.context import TaskContext
from taskq.errors import PayloadError
from taskq.message import bring_back
from taskq.middleware import Hook, Hooks
from taskq.veil import Veil
from taskq.worker.holdings import Holdings
from taskq.worker.job import Job
from taskq.worker.testimony import Testimony, Unread
from taskq.worker.timeouts import KILL_AFTER_S, kill_at_ms
from taskq.worker.verdict import Judge, Verdict

log = logging.getLogger("taskq.worker")


class News(NamedTuple):
    """The hooks that hear of a retry or a failure, before it is submitted and after, and what they are given."""

    before: Sequence[Hook]
    after: Sequence[Hook]
    args: tuple[Any, ...]


class Desk:
    """Between the runners and the engine. `state` is what the app's lifespan yielded."""

    def __init__(
        self,
        holdings: Holdings,
        judge: Judge,
        hooks: Hooks,
        testimony: Testimony | Unread,
        namespace: Namespace,
        state: Any,
        kill_after_s: float = KILL_AFTER_S,
    ) -> None:
        self.judge, self.hooks, self.state = judge, hooks, state
        self.submit: Callable[[Job, Verdict], None] = holdings.submit
        """Where verdicts go: the engine's `submit`, once there is one."""
        self._holdings = holdings
        self._testimony, self._namespace = testimony, namespace
        self._words: memoryview | list[int] = testimony.words
        self._kill_after_s = kill_after_s
        self._pid = os.getpid()
        self._debug = log.isEnabledFor(logging.DEBUG)

    def admit(self, job: Job, slot: int, *, begins: bool = True) -> bool:
        """Note that `job` starts in `slot`; False if it must not, and then its end was reported.

        Without `begins` its time does not run yet: `begin` is to follow.

        First the note, then the look at what forbids it: the supervisor revokes first and reads notes then.
        """
        job.started = time.monotonic()
        at = self._testimony.word_of(slot)
        self._words[at + 1] = kill_at_ms(job, self._kill_after_s) if begins else 0
        self._words[at] = job.g
        if not job.outcome_given and self._is_barred(job):
            return self._refuse(job, slot, Verdict(Kind.RELEASED))
        if job.cancelled:
            return self._refuse(job, slot, self.judge.ended(job, Kind.CANCELLED))
        if job.expires_ms and self._namespace.now_ms() >= job.expires_ms:
            return self._refuse(job, slot, self.judge.ended(job, Kind.EXPIRED))
        if begins:
            job.slot = slot
        if self._debug:
            log.debug("%s %s starts, attempt %d", job.task.name, job.id, job.attempt)
        return True

    def begin(self, job: Job, slot: int) -> None:
        """Count its time from here on: on the loop, the first steps of others come between its admission and this."""
        job.started = time.monotonic()
        job.slot = slot
        if job.hard_ms:
            self._words[self._testimony.word_of(slot) + 1] = kill_at_ms(job, self._kill_after_s)

    def leave_time_to_others(self, job: Job, slot: int, net_s: float) -> None:
        """Note that others end `job` when its time is over; its process is killed for it only `net_s` after that."""
        if job.hard_ms:
            self._words[self._testimony.word_of(slot) + 1] = kill_at_ms(job, self._kill_after_s + net_s)

    def _refuse(self, job: Job, slot: int, verdict: Verdict) -> bool:
        self._words[self._testimony.word_of(slot)] = 0
        job.started = 0.0
        self.submit(job, verdict)
        return False

    def _is_barred(self, job: Job) -> bool:
        holdings = self._holdings
        return job.epoch != holdings.epoch or self._testimony.revoked() != holdings.revoked

    def leave(self, job: Job, slot: int) -> float:
        """Note that `job` runs no more in `slot`; gives the seconds it took."""
        if os.getpid() != self._pid:
            os._exit(0)  # a fork that a task made and that came back: its memory is ours, its work is not
        took = time.monotonic() - job.started
        job.slot = -1
        self._words[self._testimony.word_of(slot)] = 0
        job.gauge.ran(took)
        return took

    def context(self, job: Job) -> TaskContext:
        """What the task can know of itself."""
        return TaskContext(
            job.id, job.g, job.failures, job.crashes, job.message, job.task, self.state, _Word(self, job)
        )

    def started_ms(self, job: Job) -> int:
        """When it started, in Redis time."""
        return self._namespace.at_ms(job.started)

    def zero_ms(self) -> int:
        """The zero of the monotonic clock, which all processes of a machine share, in Redis time."""
        return self._namespace.at_ms(0.0)

    def fetch(self, job: Job) -> None:
        """Bring the arguments of a job back from the store; it blocks. Raises what `bring_back` raises."""
        bring_back(job.message, job.id, self.judge.payloads)
        if job.outcome_given and job.message.payload is not None and not job.task.options.keep_message:
            self.discard(job.message.payload.name)  # settled at its start, it is never run again

    def discard(self, name: str) -> None:
        """Have an object removed from the store that no message refers to any more."""
        self._holdings.discard(name)

    def store(self, job: Job, verdict: Verdict) -> Verdict:
        """Take the result of a job to the store; it blocks. Gives the verdict, another one if that failed."""
        assert verdict.aside is not None
        try:
            self.judge.payloads.put(verdict.aside)
        except PayloadError as error:
            return self.raised(job, error, verdict.took)
        verdict.aside = None  # it may be large, and the verdict waits for the server
        return verdict

    def raised(self, job: Job, error: BaseException, took: float) -> Verdict:
        """Judge a run that raised. What was settled before its end is not retried, whatever it does."""
        if job.outcome_given:
            return self.judge.ended(job, Kind.FAILED, error, self.started_ms(job), took)
        return self.judge.raised(job, error, self.started_ms(job), took)

    def news(self, verdict: Verdict) -> News | None:
        """Which hooks are to hear of a verdict."""
        hooks = self.hooks
        if verdict.kind is RETRY:
            return News(hooks.before_retry, hooks.after_retry, (verdict.error, verdict.ms))
        if verdict.kind is FAILED:
            return News(hooks.before_failure, hooks.after_failure, (verdict.error,))
        return None

    def returned(self, job: Job, value: Any, took: float) -> Verdict:
        """Judge a run that returned."""
        if job.task.options.ack == "manual" and not job.outcome_given:
            error = RuntimeError(
                f"{job.task.name} is declared with ack='manual' and returned without ack() or nack()"
            )
            return self.judge.raised(job, error, self.started_ms(job), took)
        try:
            result = job.task.codec.encode_result(value, job.is_pickled)
            return self.judge.succeeded(job, result, self.started_ms(job), took)
        except Exception as error:  # noqa: BLE001 - whatever a value's own code raises
            return self.judge.raised(job, error, self.started_ms(job), took)


class _Word:
    """A task's own word on its end, where it is declared with `ack="manual"`."""

    __slots__ = ("_desk", "_job")

    is_replay = False

    def __init__(self, desk: Desk, job: Job) -> None:
        self._desk, self._job = desk, job

    def veil(self) -> Veil:
        return self._job.veil()

    def ack(self, context: TaskContext) -> None:  # noqa: ARG002 - the outlet's shape
        job, desk = self._job, self._desk
        took = time.monotonic() - job.started
        self._give(desk.judge.succeeded(job, None, desk.started_ms(job), took))

    def nack(self, context: TaskContext, delay_ms: int | None) -> None:  # noqa: ARG002 - as above
        job, desk = self._job, self._desk
        took = time.monotonic() - job.started
        verdict = desk.judge.raised(job, RuntimeError("nack()"), desk.started_ms(job), took)
        if verdict.kind is Kind.RETRY and delay_ms is not None:
            verdict.ms = delay_ms
        self._give(verdict)

    def _give(self, verdict: Verdict) -> None:
        if self._job.outcome_given:
            raise RuntimeError("this task was acknowledged already")
        self._job.outcome_given = True
        verdict.still_runs = True
        self._desk.submit(self._job, verdict)
