"""What `enqueue` returns: one task by its id, from anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from taskq.application import Application
from taskq.broker.commands import producing, reading
from taskq.clock import Duration, to_ms
from taskq.codec import CallCodec
from taskq.context import refuse_in_task, warn_in_loop
from taskq.errors import (
    BadSignature,
    ResultExpired,
    ResultNotStored,
    ResultTimeout,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TaskNotFound,
    TaskqError,
)
from taskq.frame import READS_FRAME
from taskq.info import TaskInfo, describe
from taskq.record import Outcome, Record, RemoteError, State, parse_record
from taskq.signing import KNOWS_KEY

if TYPE_CHECKING:
    from taskq.broker.command import Steps
    from taskq.broker.inbox import Inbox

R = TypeVar("R", covariant=True)

_LOOK_S = 1.0
"""How long a look at where a task stands may take, once its time is over."""


def seconds(timeout: Duration | None) -> float | None:
    """Give a timeout as the standard library takes it."""
    return None if timeout is None else to_ms(timeout) / 1_000


def within(timeout: Duration | None) -> str:
    """Give a timeout as messages have it."""
    return f"{seconds(timeout):g} s"


def _standing(record: Record | None) -> str:
    """Say where a task stands that had not ended a moment ago."""
    if record is None:
        return "it is queued"  # a plain one has no record before its first claim
    if record.state.ended:
        return "it has ended since"
    if record.state is not State.PARKED:
        return f"it is {record.state.value}"
    if record.owner.startswith(KNOWS_KEY):
        return f"it is parked: no worker has the signing key {record.owner.removeprefix(KNOWS_KEY)!r}"
    if record.owner.startswith(READS_FRAME):
        return "it is parked: no worker reads what it was written as"
    return f"it is parked: no worker knows {record.owner}"


class TaskHandle(Generic[R]):
    """One task, by its id: what became of it, its result, the way to cancel it.

    It holds no connection and can be made anywhere: `task.handle(id)`, `app.handle(id)`. Each method has an
    async twin with an `a` in front. Two handles of one task are equal.
    """

    __slots__ = ("app", "codec", "confirmed", "created", "end", "id")

    def __init__(
        self, app: Application, id: str, codec: CallCodec, created: bool = True, confirmed: bool = False
    ) -> None:
        self.app = app
        self.id = id
        self.codec = codec
        self.created = created
        """False if `enqueue` found the id or the unique key taken, and stored nothing."""
        self.confirmed = confirmed
        """True if the handle comes from an `enqueue`, so that the task surely was there."""
        self.end: Record | None = None
        """What the task ended with, once this handle has seen it."""

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TaskHandle) and (self.id, self.app.config) == (other.id, other.app.config)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def inbox(self) -> Inbox:
        """Where this client hears of the end."""
        return self.app.broker.inbox_of(self.id)

    def result(self, timeout: Duration | None = None, *, allow_block: bool = False) -> R:
        """Wait for the end and give what the task returned.

        Raises:
            ResultTimeout: it has not ended within `timeout`; this is a TimeoutError.
            TaskFailed, TaskCancelled, TaskExpired: it ended without a result.
            ResultNotStored: it succeeded, and its result was not kept.
            PayloadError: its result is in a store that is out of reach, or has it no more.
            BadSignature: there are signing keys, and what is said of its end is not signed by one, or was altered.
            TaskNotFound, ResultExpired: nothing is known of it, or nothing any more.
            BlockingInTask: the caller is a task itself, and does not `allow_block`.
        """
        __tracebackhide__ = True  # pytest is to show the line that asked
        refuse_in_task("result", allow_block)
        warn_in_loop("result", "aresult")
        if self.end is None:
            future = self.inbox.watch([self.id], seconds(timeout))[self.id]
            try:
                self.end = future.result(seconds(timeout))
            except TimeoutError:
                raise self._late(timeout, self._stands()) from None
            finally:
                if not future.done():
                    self.inbox.forget([self.id])
        return self._unpack(self.end)

    async def aresult(self, timeout: Duration | None = None) -> R:  # noqa: ASYNC109 - as `result` has it
        """As `result`, on the running loop. A task may use it: it holds its slot meanwhile, and no thread."""
        __tracebackhide__ = True
        import asyncio

        if self.end is None and timeout == 0:  # a wait of no time would not even look
            self.end = await self.app.broker.arun(self._end_by_now())
        elif self.end is None:
            try:
                async with asyncio.timeout(seconds(timeout)):
                    self.end = await self.inbox.awatch(self.id)
            except TimeoutError:
                raise self._late(timeout, await self._astands()) from None
        if self.end is not None and self.end.is_offloaded:
            return await asyncio.to_thread(self._unpack, self.end)
        return self._unpack(self.end)

    def status(self) -> State:
        """Say where the task stands.

        Raises:
            TaskNotFound, ResultExpired: nothing is known of it, or nothing any more.
        """
        return self.app.broker.run(self._status())

    async def astatus(self) -> State:
        """As `status`, on the running loop."""
        return await self.app.broker.arun(self._status())

    def ready(self) -> bool:
        """Say whether the task has ended, in whatever way. Raises what `status` raises."""
        return self.status().ended

    async def aready(self) -> bool:
        """As `ready`, on the running loop."""
        return (await self.astatus()).ended

    def info(self) -> TaskInfo:
        """Give all that the server knows of the task. Raises what `status` raises."""
        return self.app.broker.run(self._info())

    async def ainfo(self) -> TaskInfo:
        """As `info`, on the running loop."""
        return await self.app.broker.arun(self._info())

    def cancel(self) -> State:
        """Cancel the task; gives where it stands after that.

        CANCELLED: it never starts. RUNNING: its process was asked to stop it. Another end: it came too late.

        Raises:
            TaskNotFound, ResultExpired: nothing is known of it, or nothing any more.
        """
        return self.app.broker.run(self._cancel())

    async def acancel(self) -> State:
        """As `cancel`, on the running loop."""
        return await self.app.broker.arun(self._cancel())

    def _look(self) -> Steps[tuple[Record | None, bytes | None]]:
        [(record, message)] = yield reading.lookup(self.app.broker.keys_of(self.id), [self.id])
        if record is None and message is None:
            raise self._unknown()
        return None if record is None else parse_record(record), message

    def _status(self) -> Steps[State]:
        if self.end is not None:
            return self.end.state
        record, _ = yield from self._look()
        return State.QUEUED if record is None else record.state

    def _info(self) -> Steps[TaskInfo]:
        record, message = yield from self._look()
        due = None
        if record is not None and record.state is State.SCHEDULED:
            keys = self.app.broker.keys_of(self.id)
            due = yield reading.read(keys, "ZSCORE", keys.agenda, f"t:{self.id}")
        due_ms = None if due is None else float(due)
        return describe(self.id, record, message, self.codec, self.app.frames, due_ms)

    def _cancel(self) -> Steps[State]:
        ttl_ms = self.app.config.record_ttl_ms()
        state = yield producing.cancel(self.app.broker.keys_of(self.id), self.id, ttl_ms)
        if state is None:
            raise self._unknown()
        return state  # type: ignore[no-any-return]

    def _end_by_now(self) -> Steps[Record]:
        record, _ = yield from self._look()
        if record is None or not record.state.ended:
            raise self._late(0, _standing(record))
        return record

    # Where it stands is told if the server tells it at once: nothing is to hide that the time is over.

    def _stands(self) -> str:
        try:
            return self.app.broker.run(self._look_where(), patience=0.0)
        except TaskqError:
            return ""

    async def _astands(self) -> str:
        import asyncio

        try:
            async with asyncio.timeout(_LOOK_S):
                return await self.app.broker.arun(self._look_where())
        except (TaskqError, TimeoutError):
            return ""

    def _look_where(self) -> Steps[str]:
        keys = self.app.broker.keys_of(self.id)
        record = yield reading.read(keys, "GET", keys.record(self.id))
        return _standing(None if record is None else parse_record(record))

    def _late(self, timeout: Duration | None, standing: str) -> ResultTimeout:
        where = f": {standing}" if standing else ""
        return ResultTimeout(
            f"task {self.id} has not ended within {within(timeout)}{where}; it may still run, and succeed"
        )

    def _unpack(self, end: Record | None) -> R:
        __tracebackhide__ = True
        if end is None:
            raise self._unknown()
        if end.state is State.CANCELLED:
            raise TaskCancelled(f"task {self.id} was cancelled", id=self.id)
        if end.state is State.EXPIRED:
            raise TaskExpired(f"task {self.id} expired before it started", id=self.id)
        outcome, trusted = self._open(end)
        if end.state is State.FAILED:
            raise self._failed(outcome.error)
        if outcome.payload is not None:
            outcome.result = self.app.payloads.get(outcome.payload, self.id)
        if outcome.result is None:
            raise ResultNotStored(
                f"task {self.id} succeeded, and no result was kept (result_ttl=0, or settled before its end)"
            )
        result: R = self.codec.decode_result(outcome.result, trusted)
        return result

    def _open(self, end: Record) -> tuple[Outcome, bool]:
        try:
            return end.open(self.id, self.app.frames)
        except BadSignature as error:
            raise BadSignature(f"task {self.id}: {error}") from None

    def _failed(self, error: RemoteError | None) -> TaskFailed:
        error = error or RemoteError("Exception", "its worker said no more")
        failed = TaskFailed(
            f"task {self.id} failed with {error.type}: {error.message}",
            id=self.id,
            type=error.type,
            traceback=error.traceback,
        )
        if error.traceback:
            failed.add_note(f"In the worker:\n{error.traceback}")
        return failed

    def _unknown(self) -> TaskNotFound:
        if self.confirmed:
            return ResultExpired(f"task {self.id} was enqueued and has ended; the time of its record is over")
        return TaskNotFound(f"nothing is known of task {self.id}: it never was, or its record's time is over")
