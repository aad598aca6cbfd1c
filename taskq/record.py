"""What Redis keeps of one message besides the message: its state, its counters, its outcome.

A record is one packed string, for reads are one MGET a batch and the fence is a prefix comparison:
`state|g|owner|queue:priority|f|c|flags` while the task lives, `state|g|owner|outcome` once it ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

import msgspec
from msgspec import Meta

from taskq.clock import LATEST_MS
from taskq.errors import BadMessage
from taskq.frame import FRAME_VERSION, OFFLOADED, PLAIN, FrameCodec, beginning, unchecked
from taskq.payloads import Reference


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
_UNSIGNED = frozenset({State.CANCELLED, State.EXPIRED})
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
        "secrets": "x",
        "payload": "l",
    },
):
    """What became of a task. Unknown fields are ignored, so that releases can run side by side.

    `started_ms` is Redis time, `took_ms` was measured on the worker's monotonic clock. `result` is the
    codec's bytes, None if none was stored; `payload` says where they lie, if they are not here. `attempt` counts
    from 1. `secrets` are the app's own patterns for names that are not shown in the result (`taskq.redaction.Marks`).
    """

    started_ms: Annotated[int, Meta(ge=0, le=LATEST_MS)] = 0
    took_ms: float = 0.0
    attempt: int = 1
    result: bytes | None = None
    error: RemoteError | None = None
    task: str = ""
    process: str = ""
    secrets: list[str] | None = None
    payload: Reference | None = None

    def __repr__(self) -> str:
        return f"<Outcome of {self.task} in {self.process}>"  # without its result: it may be secret


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Outcome)


_FRAMED = bytes((FRAME_VERSION,))  # what is not framed begins with a msgpack map
_LETTER_OF = {state: letter.decode() for letter, state in _LETTERS.items()}


def encode_outcome(outcome: Outcome) -> bytes:
    """Give the bytes that stand behind the third `|` of an ended record, where they are not signed or compressed."""
    return _encoder.encode(outcome)


def seal_outcome(
    outcome: Outcome, id: str, g: int, letter: str, frames: FrameCodec, compress_over: int | None = None
) -> bytes:
    """Give the bytes of an outcome that a claim, `g`, of the task `id` came to; `letter` is that of the record.

    Raises:
        PayloadTooLarge: they are more than may travel.
    """
    body = _encoder.encode(outcome)
    offloaded = outcome.payload is not None
    if frames.is_plain and compress_over is None and not offloaded and len(body) <= frames.max_payload:
        return body
    fits = f"{g} {letter}"
    return frames.seal(body, "outcome", id, fits, compress_over=compress_over, plain=b"", offloaded=offloaded)


def decode_outcome(data: bytes) -> Outcome:
    """Read an outcome without a look at its signature: for listings.

    Raises:
        BadMessage: the bytes are none.
    """
    return _decode(unchecked(data) if data[:1] == _FRAMED else data)


def _decode(body: bytes | memoryview) -> Outcome:
    try:
        return _decoder.decode(body) if body else Outcome()
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise BadMessage(f"{beginning(body)} is no outcome") from error


@dataclass(frozen=True, slots=True)
class Record:
    """A record, unpacked. `ending` is there once the task ended, and `queue` and `priority` until then."""

    state: State
    g: int
    owner: str
    queue: str = ""
    priority: int = 0
    failures: int = 0
    crashes: int = 0
    flags: str = ""
    ending: bytes = field(default=b"", repr=False)
    """The bytes of its outcome."""

    @property
    def is_offloaded(self) -> bool:
        """True if its result has to be fetched from a store."""
        return self.ending[:1] == _FRAMED and bool(self.ending[1] & OFFLOADED)

    @property
    def outcome(self) -> Outcome | None:
        """What became of it, without a look at the signature; None until then.

        Raises:
            BadMessage: its bytes are no outcome.
        """
        return decode_outcome(self.ending) if self.state.ended else None

    def signature(self, id: str, frames: FrameCodec) -> str | None:
        """Say of the outcome what `FrameCodec.signature` says; None of what a server's script has ended."""
        if not self.state.ended or (not self.ending and self.state in _UNSIGNED):
            return None
        framed = self.ending if self.ending[:1] == _FRAMED else PLAIN
        return frames.signature(framed, "outcome", id, f"{self.g} {_LETTER_OF[self.state]}")

    def open(self, id: str, frames: FrameCodec) -> tuple[Outcome, bool]:
        """Read what became of the task `id`; gives whether its signature was verified, too.

        A server's script, which has no key, says that a task was cancelled or has expired. Without keys nothing is
        checked, and nothing is loaded that would have to be.

        Raises:
            BadSignature: there are keys, and it is not signed, by none of them, or was altered.
            BadMessage: its bytes are no outcome, or too many.
        """
        data = self.ending
        if not data and self.state in _UNSIGNED:
            return Outcome(), False
        if data[:1] == _FRAMED:
            body, verified = frames.open(data, "outcome", id, f"{self.g} {_LETTER_OF[self.state]}")
            return _decode(body), verified
        frames.check_unsigned("outcome")
        return _decode(frames.bounded(data)), False


def parse_record(data: bytes) -> Record:
    """Unpack a record.

    Raises:
        BadMessage: `data` is no record of this format.
    """
    try:
        letter, g, owner, rest = data.split(b"|", 3)
        state = _LETTERS[letter]
        if state.ended:
            return Record(state, int(g), owner.decode(), ending=rest)
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
    except (ValueError, KeyError) as error:
        raise BadMessage(f"{beginning(data)} is no record") from error
