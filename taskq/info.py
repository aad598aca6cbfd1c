"""What the server knows of one task, put together for people."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from taskq.codec import CallCodec
from taskq.errors import BadMessage, TaskqError
from taskq.frame import FrameCodec
from taskq.message import Message, decode_message, message_signature
from taskq.record import Record, RemoteError, State


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """One task at one moment. Instants are UTC by the server's clock; what is unknown is None.

    The message of a task is gone once it has ended, but for a failed one's, and its counters with it.
    """

    id: str
    state: State
    task: str | None = None
    """The task's name."""
    queue: str | None = None
    priority: int | None = None
    attempt: int = 1
    """The run that is on, comes next, or was the last; counts from 1."""
    failures: int | None = None
    crashes: int | None = None
    process: str | None = None
    """The worker process that runs it, or did last."""
    created: datetime | None = None
    due: datetime | None = None
    """When a scheduled task becomes ready."""
    started: datetime | None = None
    """When the last run began; known once it has ended."""
    took: float | None = None
    """Seconds that the last run took."""
    error: RemoteError | None = None
    """What a failed task raised, as text."""
    args: tuple[Any, ...] | None = field(default=None, repr=False)
    kwargs: Mapping[str, Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    tags: tuple[str, ...] = ()
    origin: str | None = None
    """The dead letter whose work this is."""
    signature: str | None = None
    """Of the message, or of the outcome where that is gone: `valid`, `invalid`, `missing`, `unknown key`, or
    `not checked` where this app has no keys; None where nothing is signed. Whatever it is, all else is shown."""


def describe(
    id: str,
    record: Record | None,
    message: bytes | None,
    codec: CallCodec,
    frames: FrameCodec,
    due_ms: float | None = None,
) -> TaskInfo:
    """Put together what is known. Without a record the task is queued and was never claimed."""
    facts: dict[str, Any] = {} if message is None else _of_message(message, codec)
    queue = record.queue if record is not None and record.queue else None
    if message is not None:
        facts["signature"] = message_signature(message, id, queue, frames)
    elif record is not None:
        facts["signature"] = record.signature(id, frames)
    if record is not None:
        facts |= {"process": record.owner or None} | (
            _of_end(record) if record.state.ended else _of_life(record)
        )
    return TaskInfo(id, record.state if record else State.QUEUED, due=_instant(due_ms), **facts)


def _of_message(data: bytes, codec: CallCodec) -> dict[str, Any]:
    try:
        message: Message = decode_message(data)
    except BadMessage:  # of a later release, or not ours: the record still speaks
        return {}
    facts: dict[str, Any] = {
        "task": message.task,
        "queue": message.queue,
        "priority": message.priority,
        "created": _instant(message.created_ms),
        "headers": message.headers,
        "tags": tuple(message.tags or ()),
        "origin": message.origin,
    }
    if message.payload is not None:
        return facts  # the arguments are in a store, which is not asked here
    with suppress(TaskqError):  # arguments that no longer fit are no reason to say nothing
        facts["args"], facts["kwargs"] = codec.decode_call(message.args, message.kwargs)
    return facts


def _of_life(record: Record) -> dict[str, Any]:
    return {
        "queue": record.queue,
        "priority": record.priority,
        "failures": record.failures,
        "crashes": record.crashes,
        "attempt": record.failures + record.crashes + 1,
    }


def _of_end(record: Record) -> dict[str, Any]:
    try:
        outcome = record.outcome
    except BadMessage:
        outcome = None
    if outcome is None:
        return {}
    facts: dict[str, Any] = {"attempt": outcome.attempt, "error": outcome.error}
    if outcome.started_ms:
        facts |= {"started": _instant(outcome.started_ms), "took": outcome.took_ms / 1_000}
    if outcome.task:
        facts["task"] = outcome.task
    if outcome.process:
        facts["process"] = outcome.process
    return facts


def _instant(ms: float | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(ms / 1_000, UTC) if ms else None
    except (ValueError, OverflowError):  # a score of the agenda may be any number
        return None
