"""What programs that enqueue send: enqueue, wait, cancel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from taskq.broker.command import Command, text
from taskq.broker.keys import Keys
from taskq.errors import BadMessage, BrokerError, QueueFull, TaskqError, TooLate
from taskq.record import Record, State, parse_record

BATCH = 256
"""How many messages one `enqueue` takes at most; see DESIGN's bounds a call."""

GATHERED = 2_048
"""How many wait together for the disk or for replicas; with `appendfsync everysec` that takes up to a second."""

_ENDS = {
    "C": State.CANCELLED,
    "r": State.RUNNING,
    "S": State.SUCCEEDED,
    "F": State.FAILED,
    "E": State.EXPIRED,
}


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """A message on its way: its id, its list, and what `enqueue.lua` calls its options ('' for a plain task)."""

    id: str
    list: str
    message: bytes
    options: str = ""

    def __repr__(self) -> str:
        return f"<Envelope {self.id} to {self.list}>"  # without the message: its arguments may be secret


def options(
    *,
    delay_ms: int | None = None,
    eta_ms: int | None = None,
    expires_in_ms: int | None = None,
    expires_ms: int | None = None,
    front: bool = False,
    own_id: bool = False,
    key: str = "",
    keep_ms: int | None = None,
) -> str:
    """Pack what is not plain about a message. Instants are Redis time; `key` comes from `names.unique_key`."""

    def instant(relative: int | None, absolute: int | None) -> str:
        return f"+{relative}" if relative is not None else "" if absolute is None else str(absolute)

    switches = ("f" if front else "") + ("u" if own_id else "")
    due, expires = instant(delay_ms, eta_ms), instant(expires_in_ms, expires_ms)
    if not (due or expires or switches or key):
        return ""
    return f"{due}|{expires}|{'' if keep_ms is None else keep_ms}|{switches}|{key}"


class Full(msgspec.Struct, frozen=True, gc=False):
    """A queue that takes nothing new: how many tasks were ready in it, of `most` that may be."""

    queue: str
    ready: int
    most: int


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What `enqueue` did with one message. `id` is the holder's where a unique key was taken."""

    id: str
    created: bool
    too_late: bool = False
    wrong_type: str = ""
    """The list that could not take it, for its key holds something else."""
    full: Full | None = None
    """The queue that did not take it."""
    refusal: tuple[type[TaskqError], str] | None = None
    """The error that the server refused its batch with, or one before, after it had taken others."""

    def check(self) -> None:
        """Raise TooLate, QueueFull or what refused it if it is not stored, and nothing else holds its id or key."""
        if self.refusal is not None:
            kind, says = self.refusal
            raise kind(says)
        if self.full is not None:
            raise QueueFull(self.id, self.full.queue, self.full.ready, self.full.most)
        if self.too_late:
            raise TooLate(
                f"task {self.id} came after its time and is not stored; to run it still, enqueue it anew"
            )
        if self.wrong_type:
            raise BrokerError(
                f"task {self.id} is not stored: the key of its list, {self.wrong_type}, has a wrong type; "
                "the next sweep of a worker moves that aside"
            )


def enqueue(
    keys: Keys, envelopes: Sequence[Envelope], not_after_ms: int = 0
) -> Command[tuple[int, list[Stored]]]:
    """Store at most `BATCH` messages; past `not_after_ms` (Redis time, 0 never) those with a made id are refused.

    Gives Redis time in ms and what was done with each.
    """
    args: list[str | bytes | int] = [not_after_ms]
    for envelope in envelopes:
        args += (envelope.id, envelope.list, envelope.options, envelope.message)

    def decode(reply: Any) -> tuple[int, list[Stored]]:
        answers = zip(envelopes, reply[1:], strict=True)
        return int(reply[0]), [_stored(envelope, answer) for envelope, answer in answers]

    return Command("enqueue", keys.meta, args, decode, keys.shard)


def _stored(envelope: Envelope, answer: int | bytes | list[int]) -> Stored:
    if answer == 1:
        return Stored(envelope.id, True)
    if isinstance(answer, list):
        return Stored(envelope.id, False, full=Full(envelope.list.partition(":")[0], *answer))
    if isinstance(answer, int):
        wrong_type = envelope.list if answer == -2 else ""
        return Stored(envelope.id, False, too_late=answer == -1, wrong_type=wrong_type)
    return Stored(text(answer), False)


End = Record | BadMessage | State | None
"""What `wait` gives for one task: its record once it has ended, QUEUED where the client will hear of the end, None
where nothing is known, an error where the record cannot be read.
"""


def wait(keys: Keys, client: str, ids: Sequence[str]) -> Command[list[End]]:
    """Look for the ends of tasks, and have `client` told of those that are still to come."""
    return Command("wait", keys.meta, (client, *ids), _as_ends, keys.shard)


def _as_ends(reply: Any) -> list[End]:
    return [None if end is None else _as_end(end) if end else State.QUEUED for end in reply]


def _as_end(data: bytes) -> Record | BadMessage:
    try:
        return parse_record(data)
    except BadMessage as error:  # one broken record is no other's trouble
        return error


def told(word: bytes) -> tuple[str, Record | None]:
    """Read what an inbox is told: the id of what ended, and its record if that is small."""
    id, _, data = word.partition(b" ")
    record = _as_end(data) if data else None
    return text(id), record if isinstance(record, Record) and record.state.ended else None


def cancel(keys: Keys, id: str, ttl_ms: int) -> Command[State | None]:
    """End a task that waits, or ask the process that runs it (then RUNNING); gives the state after, None if unknown."""
    return Command("cancel", keys.meta, (id, ttl_ms), lambda reply: _ENDS.get(text(reply)), keys.shard)


def init(keys: Keys, shards: int) -> Command[tuple[str, str]]:
    """Make the shard's `meta` if it is absent; gives its format version and number of shards as they stand there."""
    return Command("init", keys.meta, (shards,), lambda reply: (text(reply[0]), text(reply[1])), keys.shard)
