"""What Redis keeps of one message besides the message: its state, its counters, its outcome.

A record is one packed string, for reads are one MGET a batch and the fence is a prefix comparison:
`state|g|owner|queue:priority|f|c|flags` while the task lives, `state|g|owner|outcome` once it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import msgspec

from taskq.errors import BadMessage


class State(Enum):
    """Where a task stands. The last four are for good."""

    SCHEDULED = "scheduled"
    BLOCKED = "blocked"
    QUEUED = "queued"
    RUNNING = "running"
    PARKED = "parked"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """True for the four states that nothing leaves."""
        return self in _ENDED


_LETTERS = {
    b"w": State.SCHEDULED,
    b"b": State.BLOCKED,
    b"q": State.QUEUED,
    b"r": State.RUNNING,
    b"p": State.PARKED,
    b"S": State.SUCCEEDED,
    b"F": State.FAILED,
    b"C": State.CANCELLED,
    b"E": State.EXPIRED,
}
_ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})


class RemoteError(msgspec.Struct, rename={"type": "t", "message": "m", "traceback": "b"}):
    """An exception as text: the qualified name of its type, its message, its traceback."""

    type: str
    message: str
    traceback: str = ""


class Outcome(
    msgspec.Struct,
    omit_defaults=True,
    rename={
        "started_ms": "s",
        "took_ms": "d",
        "attempt": "n",
        "result": "r",
        "error": "e",
        "task": "t",
        "process": "p",
    },
):
    """What became of a task. Unknown fields are ignored, so that releases can run side by side.

    `started_ms` is Redis time, `took_ms` was measured on the worker's monotonic clock. `result` is the
    codec's bytes, None if none was stored. `attempt` counts from 1.
    """

    started_ms: int = 0
    took_ms: float = 0.0
    attempt: int = 1
    result: bytes | None = None
    error: RemoteError | None = None
    task: str = ""
    process: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Outcome)


def encode_outcome(outcome: Outcome) -> bytes:
    """Give the bytes that stand behind the third `|` of an ended record."""
    return _encoder.encode(outcome)


@dataclass(frozen=True, slots=True)
class Record:
    """A record, unpacked. `outcome` is there once the task ended, and `queue` and `priority` until then."""

    state: State
    g: int
    owner: str
    queue: str = ""
    priority: int = 0
    failures: int = 0
    crashes: int = 0
    flags: str = ""
    outcome: Outcome | None = None


def parse_record(data: bytes) -> Record:
    """Unpack a record.

    Raises:
        BadMessage: `data` is no record of this format.
    """
    try:
        letter, g, owner, rest = data.split(b"|", 3)
        state = _LETTERS[letter]
        if state.ended:
            outcome = _decoder.decode(rest) if rest else Outcome()
            return Record(state, int(g), owner.decode(), outcome=outcome)
        where, failures, crashes, flags = rest.split(b"|")
        queue, _, priority = where.partition(b":")
        return Record(
            state,
            int(g),
            owner.decode(),
            queue=queue.decode(),
            priority=int(priority or 0),
            failures=int(failures),
            crashes=int(crashes),
            flags=flags.decode(),
        )
    except (ValueError, KeyError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise BadMessage(f"{data[:80]!r} is no record") from error
