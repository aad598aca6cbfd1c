"""Everything that is known of one task."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from taskq.broker.command import Steps, text, work
from taskq.broker.commands.operating import parse_entry
from taskq.broker.commands.reading import lookup, read
from taskq.broker.keys import Keys
from taskq.errors import BadMessage, TaskNotFound
from taskq.frame import NO_KEYS, FrameCodec, UnknownFrame
from taskq.inspector.listing import UNREADABLE, took_ms
from taskq.inspector.places import score_ms
from taskq.inspector.plain import decode_plain
from taskq.inspector.scan import tolerant
from taskq.message import Message, decode_message, message_signature
from taskq.names import check_id
from taskq.payloads import Payloads, Reference
from taskq.record import Record, RemoteError, State, decode_outcome, parse_record
from taskq.redaction import DEFAULT, Redaction

_PLACES_LOOKED_AT = 10_000


class Error(msgspec.Struct, frozen=True):
    """An exception as the worker wrote it down: all three are text."""

    type: str
    message: str
    traceback: str


class Offloaded(msgspec.Struct, frozen=True):
    """A payload in the store: the object's name and its size in bytes."""

    name: str
    size: int


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """One task. Instants are Redis time; what is not known, or does not apply, is None.

    `state` is `unreadable` where the record is no bytes of ours. `unreadable` names the parts that could not
    be read: `record`, `outcome`, `message`, `args`, `kwargs`, `result`. `where` says in words where the task stands.
    `offloaded` says where the arguments lie that are not in the message, `result_offloaded` where the result does.
    `keep_ms` is how long what is known of it stays known; None for as long as it lives.
    """

    id: str
    state: str
    where: str
    task: str | None = None
    queue: str | None = None
    priority: int | None = None
    attempt: int | None = None
    failures: int | None = None
    crashes: int | None = None
    generation: int | None = None
    process: str | None = None
    args: Any = None
    kwargs: Any = None
    tags: list[str] = []
    headers: dict[str, str] = {}
    max_retries: int | None = None
    timeout_ms: int | None = None
    result_ttl_ms: int | None = None
    origin: str | None = None
    key: str | None = None
    created_ms: int | None = None
    due_ms: int | None = None
    expires_ms: int | None = None
    started_ms: int | None = None
    took_ms: int | None = None
    offloaded: Offloaded | None = None
    has_result: bool = False
    result: Any = None
    result_offloaded: Offloaded | None = None
    error: Error | None = None
    keep_ms: int | None = None
    signature: str | None = None
    unreadable: list[str] = []


def detail(
    keys: Keys, id: str, frames: FrameCodec = NO_KEYS, redaction: Redaction = DEFAULT
) -> Steps[Detail]:
    """Look up a task on its shard; `frames` has the keys that signatures are checked with.

    What is secret in arguments, headers and result is masked: by the message's own marks, and by `redaction`.

    Raises:
        BadName: `id` can be no task's.
        TaskNotFound: nothing is known of it.
    """
    check_id(id)
    ((record_bytes, message_bytes),) = yield lookup(keys, [id])
    if record_bytes is None and message_bytes is None:
        yield from refuse_absent(keys, id)
    unreadable: list[str] = []
    record = _read("record", _record, record_bytes, unreadable)
    message = None if message_bytes is None else _read("message", decode_message, message_bytes, unreadable)
    known: dict[str, Any] = {
        **_of_message(message, redaction, unreadable),
        **_of_record(record, redaction, unreadable),
        **(yield from _of_extra(keys, id)),
    }
    if message_bytes is not None:
        known["signature"] = message_signature(
            message_bytes, id, record.queue or None if record else None, frames
        )
    elif record is not None:
        known["signature"] = record.signature(id, frames)
    keep_ms = yield read(keys, "PTTL", keys.record(id))
    where, due_ms = yield from _where(keys, id, record, known.get("queue"), known.get("priority"))
    return Detail(
        id=id,
        where=where,
        due_ms=due_ms,
        keep_ms=int(keep_ms) if keep_ms > 0 else None,
        unreadable=unreadable,
        **known,
    )


def offloaded_result(
    keys: Keys, id: str, frames: FrameCodec, payloads: Payloads, redaction: Redaction = DEFAULT
) -> Steps[Any]:
    """Bring back the result of a task that has ended, as `detail` would show it; None if it has none in the store.

    Raises:
        BadSignature: there are keys, and what is said of its end is not signed, or was altered.
        PayloadError: the store is out of reach, or has it no more.
    """
    ((data, _),) = yield lookup(keys, [id])
    if data is None:
        yield from refuse_absent(keys, id)
    outcome, _ = parse_record(data or b"").open(id, frames)
    if outcome.payload is None:
        return None
    result = yield work(partial(payloads.get, outcome.payload, id))
    return decode_plain(result, redaction=redaction.knowing(outcome.secrets or ()))


def _record(data: bytes | None) -> Record:
    # A plain task that waits for its first claim has a message only.
    return Record(State.QUEUED, 0, "") if data is None else parse_record(data)


def _read(part: str, decode: Callable[[Any], Any], data: bytes | None, unreadable: list[str]) -> Any:
    try:
        return decode(data)
    except UnknownFrame:
        unreadable.append(f"{part} (a later release wrote it)")
    except BadMessage:
        unreadable.append(part)
    return None


def refuse_absent(keys: Keys, id: str) -> Steps[None]:
    """Say why there is neither record nor message of a task.

    Raises:
        TaskNotFound: always.
    """
    if (yield from tolerant(read(keys, "SISMEMBER", keys.limbo, id), 0)):
        raise TaskNotFound(
            f"task {id} is in limbo: its id stood in a list, but record and message are gone; it cannot run"
        )
    if (yield read(keys, "EXISTS", keys.record(id), keys.message(id))):
        raise TaskNotFound(f"the keys of task {id} have a wrong type: they are not taskq's")
    raise TaskNotFound(f"nothing is known of task {id}: it never existed, or its record's time is over")


def _of_message(message: Message | None, redaction: Redaction, unreadable: list[str]) -> dict[str, Any]:
    if message is None:
        return {}
    marks = message.secrets or ()
    redaction = redaction.knowing(marks)
    decode = partial(decode_plain, redaction=redaction)
    args: Any = _read("args", decode, message.args, unreadable) if message.args else []
    kwargs: Any = _read("kwargs", decode, message.kwargs, unreadable) if message.kwargs else {}
    # What is no list was pickled, or is unreadable.
    values: list[Any] = args if issubclass(type(args), list) else []
    named: dict[str, Any] = kwargs if issubclass(type(kwargs), dict) else {}
    values, named = redaction.call(values, named, marks)
    return {
        "task": message.task,
        "queue": message.queue,
        "priority": message.priority,
        "args": values or args,
        "kwargs": named or kwargs,
        "offloaded": _offloaded(message.payload),
        "tags": message.tags or [],
        "headers": redaction.shown(message.headers or {}),
        "max_retries": message.max_retries,
        "timeout_ms": message.timeout_ms,
        "result_ttl_ms": message.result_ttl_ms,
        "origin": message.origin,
        "created_ms": message.created_ms or None,
    }


def _of_record(record: Record | None, redaction: Redaction, unreadable: list[str]) -> dict[str, Any]:
    if record is None:
        return {"state": UNREADABLE}
    known: dict[str, Any] = {"state": record.state.value, "generation": record.g or None}
    outcome = _read("outcome", decode_outcome, record.ending, unreadable) if record.state.ended else None
    if record.state.ended and outcome is None:
        return known
    if outcome is None:
        known |= {
            "attempt": record.failures + record.crashes + 1,
            "failures": record.failures,
            "crashes": record.crashes,
        }
        if record.queue:
            known |= {"queue": record.queue, "priority": record.priority}
        if record.state is State.RUNNING:
            known["process"] = record.owner
        return known
    if outcome.task:
        known["task"] = outcome.task
    if record.state is not State.CANCELLED and record.state is not State.EXPIRED:
        known |= {"attempt": outcome.attempt, "took_ms": took_ms(outcome)}
    known |= {"started_ms": outcome.started_ms or None, "process": outcome.process or None}
    if outcome.result is not None:
        decode = partial(decode_plain, redaction=redaction.knowing(outcome.secrets or ()))
        known |= {"has_result": True, "result": _read("result", decode, outcome.result, unreadable)}
    known |= {"error": _error(outcome.error), "result_offloaded": _offloaded(outcome.payload)}
    return known


def _offloaded(reference: Reference | None) -> Offloaded | None:
    return None if reference is None else Offloaded(reference.name, reference.size)


def _error(error: RemoteError | None) -> Error | None:
    return Error(error.type, error.message, error.traceback) if error else None


def _of_extra(keys: Keys, id: str) -> Steps[dict[str, Any]]:
    name = keys.extra(id)  # noqa: S610 (Django's is another)
    expires, key = yield from tolerant(read(keys, "HMGET", name, "expires", "key"), (None, None))
    return {
        "expires_ms": score_ms(expires) if expires else None,
        "key": text(key) if key else None,
    }


def _where(
    keys: Keys, id: str, record: Record | None, queue: str | None, priority: int | None
) -> Steps[tuple[str, int | None]]:
    """Say where a task stands, and when it is due if it waits for that."""
    if record is None:
        return "its record is unreadable; a worker that meets it puts it in quarantine", None
    if record.state is State.SCHEDULED:
        score = yield from tolerant(read(keys, "ZSCORE", keys.agenda, "t:" + id), None)
        due_ms = score_ms(score) if score else None
        return ("in the agenda" if score else "in no agenda: `taskq doctor --fix` enters it again"), due_ms
    if record.state is State.RUNNING:
        held = yield from tolerant(read(keys, "HEXISTS", keys.held(record.owner), id), 0)
        lost = "" if held else ", which does not hold it: `taskq doctor --fix` gives it back"
        return f"in process {record.owner}{lost}", None
    if record.state is State.QUEUED:
        return (yield from _where_queued(keys, id, queue or "", priority)), None
    if record.state is State.PARKED:
        return f"set aside until a worker that knows {record.owner!r} starts", None
    if record.state is State.FAILED and queue:
        dead = yield from tolerant(read(keys, "ZSCORE", keys.dead(queue), id), None)
        return ("among the dead letters" if dead else "ended"), None
    return "ended", None


def _where_queued(keys: Keys, id: str, queue: str, priority: int | None) -> Steps[str]:
    if not queue or priority is None:
        return "in a queue that its message does not tell"
    ready = keys.ready(queue, priority)
    command = read(keys, "LPOS", ready, id, "MAXLEN", _PLACES_LOOKED_AT)
    place = yield from tolerant(command, None)
    entry = yield from tolerant(read(keys, "HGET", keys.queues, queue), None)
    if parse_entry(entry or b"").paused:
        blocked = f"; the queue is paused: `taskq resume {queue}`"
    elif not (yield from tolerant(read(keys, "SCARD", keys.serves(queue)), 0)):
        blocked = f"; no worker serves the queue: start one with -Q {queue}"
    else:
        blocked = ""
    if place is None:
        length = yield from tolerant(read(keys, "LLEN", ready), 0)
        far = length > _PLACES_LOOKED_AT
        return (f"behind the first {_PLACES_LOOKED_AT}" if far else "not in the list") + blocked
    return f"number {place + 1} of priority {priority}{blocked}"
