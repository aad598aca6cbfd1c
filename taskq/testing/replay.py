"""Run a task that has ended once more, in this process: its record stays as it is, its work is done again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from taskq.app import TaskQ
from taskq.broker.command import Steps
from taskq.broker.commands.reading import lookup
from taskq.broker.keys import Keys
from taskq.broker.namespace import Namespace
from taskq.context import TaskContext
from taskq.errors import ConfigurationError, NotReplayable
from taskq.frame import FrameCodec
from taskq.inspector.detail import Error, refuse_absent
from taskq.inspector.plain import decode_plain
from taskq.message import Message, open_message
from taskq.middleware import Hooks
from taskq.names import check_id
from taskq.payloads import Payloads
from taskq.record import Record, State, decode_outcome, parse_record
from taskq.redaction import Redaction
from taskq.testing.home import Life
from taskq.veil import Veil
from taskq.worker.desk import Desk
from taskq.worker.holdings import Holdings
from taskq.worker.job import Gauge, Job
from taskq.worker.ledger import Ledger
from taskq.worker.loop import LoopRunner
from taskq.worker.prefetch import Prefetch
from taskq.worker.testimony import Unread
from taskq.worker.threads import ThreadRunner
from taskq.worker.timeouts import Timeouts
from taskq.worker.verdict import Judge, Verdict, remote_error

_LOOKS_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Ended:
    """A task that has ended, with all that it takes to run it again."""

    id: str
    record: Record
    message: Message
    signed: bool


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What the run came to; `error` is None if it returned, `has_result` False if it acknowledged by hand."""

    id: str
    task: str
    attempt: int
    has_result: bool
    result: Any
    error: Error | None
    took_ms: int


OnFailure = Callable[[BaseException, Replayed], object]


def find_ended(keys: Keys, id: str, frames: FrameCodec) -> Steps[Ended]:
    """Read a task that is to be replayed, as a worker would. Nothing is written.

    Raises:
        BadName, TaskNotFound: there is no such task.
        NotReplayable: it has not ended, or its message is gone.
        BadSignature: no worker of an app with these keys would run its message.
        BadMessage: its record or its message cannot be read.
    """
    check_id(id)
    ((record_bytes, message_bytes),) = yield lookup(keys, [id])
    if record_bytes is None and message_bytes is None:
        yield from refuse_absent(keys, id)
    record = None if record_bytes is None else parse_record(record_bytes)
    state = State.QUEUED if record is None else record.state
    if record is None or not state.ended:
        raise NotReplayable(
            f"task {id} is {state.value}: only what has ended can be replayed; wait, or cancel it"
        )
    if message_bytes is None:
        raise NotReplayable(
            f"the message of task {id} is gone, and its arguments with it: {_why_gone(state)}"
        )
    message, signed = open_message(message_bytes, id, None, frames)
    return Ended(id, record, message, signed)


def _why_gone(state: State) -> str:
    if state is State.FAILED:
        return "it was requeued; replay the task that its work became"
    return "declare the task with keep_message=True, and those that end from then on keep theirs"


def replay(
    app: TaskQ,
    namespace: Namespace,
    ended: Ended,
    on_failure: OnFailure | None = None,
) -> Replayed:
    """Run a task as a worker process does: hooks, lifespan, timeouts. To be called in the main thread.

    It is the same attempt again. Whatever comes of it is written nowhere, is not retried, and no hook is told of a
    retry or a failure. `on_failure` is given the error, and what is told of it, before the lifespan ends.

    Raises:
        ConfigurationError: the app has no such task.
        KeyboardInterrupt: Ctrl-C. The task was interrupted first.
    """
    task = app.tasks.get(ended.message.task)
    if task is None:
        raise ConfigurationError(
            f"app {app.name!r} has no task {ended.message.task!r}: name the app that {ended.id} is of"
        )
    attempt = ended.record.outcome.attempt if ended.record.outcome else 1
    job = Job(
        ended.id,
        ended.record.g,
        ended.message,
        Gauge(task),
        failures=attempt - 1,
        crashes=0,
        careful=False,
        expires_ms=0,
        process=ended.record.owner,
        epoch=0,
        received=time.monotonic(),
    )
    job.signed = ended.signed
    return asyncio.run(_run(app, namespace, job, on_failure))


async def _run(app: TaskQ, namespace: Namespace, job: Job, on_failure: OnFailure | None) -> Replayed:
    life = Life(app)
    await life.begin()
    try:
        verdict = await _verdict_on(job, _Desk(app, namespace, life.state))
        told = _told(job, verdict, app.config.redaction)
        if verdict.error is not None and on_failure is not None:
            on_failure(verdict.error, told)
    finally:
        await life.end()
    return told


async def _verdict_on(job: Job, desk: _Desk) -> Verdict:
    loop = asyncio.get_running_loop()
    threads, asyncs = ThreadRunner(desk, 1, loop), LoopRunner(desk, 1, loop, first_slot=1)
    timeouts = Timeouts(threads, asyncs)
    timeouts.expect([job])
    (asyncs if job.task.is_async else threads).offer([job])
    try:
        await _end_of(desk, timeouts)
    except asyncio.CancelledError:
        job.cancelled = True
        timeouts.cancel(job)
        await _end_of(desk, timeouts)
        raise
    assert desk.verdict is not None
    return desk.verdict


async def _end_of(desk: _Desk, timeouts: Timeouts) -> None:
    while desk.verdict is None:
        now = time.monotonic()
        timeouts.check(now)
        await asyncio.sleep(timeouts.next_check(now, _LOOKS_EVERY_S))


def _told(job: Job, verdict: Verdict, redaction: Redaction) -> Replayed:
    text = None if verdict.error is None else remote_error(verdict.error, job.veil())
    data = None if text or not verdict.outcome else decode_outcome(verdict.outcome).result
    return Replayed(
        id=job.id,
        task=job.task.name,
        attempt=job.attempt,
        has_result=data is not None,
        result=None if data is None else decode_plain(data, redaction),
        error=None if text is None else Error(text.type, text.message, text.traceback),
        took_ms=round(verdict.took * 1_000),
    )


class _Desk(Desk):
    """Hears what one run came to, and tells nobody."""

    def __init__(self, app: TaskQ, namespace: Namespace, state: Any) -> None:
        ttls = app.config.result_ttl_ms, app.config.remember_ms, app.config.dead_ttl_ms
        judge = _Judge(*ttls, payloads=_ReadOnly(app.payloads.store, app.config.max_payload))
        holdings = Holdings(Prefetch(1), Ledger(log_tasks=False))
        super().__init__(holdings, judge, Hooks(app.middleware), Unread(2), namespace, state)
        self.verdict: Verdict | None = None
        self.nacked = False
        self.submit = self._hear

    def _hear(self, job: Job, verdict: Verdict) -> None:  # noqa: ARG002 - as `submit` has it
        self.verdict = verdict

    def context(self, job: Job) -> TaskContext:
        context = super().context(job)
        context.outlet = _Outlet(self, job)
        return context

    def returned(self, job: Job, value: Any, took: float) -> Verdict:
        if self.nacked:
            return self.raised(job, RuntimeError("nack()"), took)
        return super().returned(job, value, took)

    def news(self, verdict: Verdict) -> None:  # noqa: ARG002 - as above
        return None


class _ReadOnly(Payloads):
    """Brings arguments back, and keeps every result here."""

    def is_large(self, size: int, own: int | None) -> bool:  # noqa: ARG002 - as above
        return False


class _Judge(Judge):
    """Keeps the result of every task: it is to be shown."""

    def result_ttl(self, job: Job) -> int:  # noqa: ARG002 - as above
        return 1


class _Outlet:
    """Takes a task's own word on its end."""

    is_replay = True

    def __init__(self, desk: _Desk, job: Job) -> None:
        self._desk, self._job = desk, job

    def veil(self) -> Veil:
        return self._job.veil()

    def ack(self, context: TaskContext) -> None:  # noqa: ARG002 - the outlet's shape
        if self._job.outcome_given:
            raise RuntimeError("this task was acknowledged already")
        self._job.outcome_given = True

    def nack(self, context: TaskContext, delay_ms: int | None) -> None:  # noqa: ARG002 - as above
        self.ack(context)
        self._desk.nacked = True
