"""The message: one enqueued call, as it travels. It never changes once it is stored.

On the wire: a byte of frame version, a byte of flags, then a msgpack map with short keys. An unknown frame
version parks the task; unknown map fields are ignored, so that releases can run side by side.
"""

from __future__ import annotations

import msgspec

from taskq.errors import BadMessage

FRAME_VERSION = 1
_FRAME = bytes((FRAME_VERSION, 0))


class Message(
    msgspec.Struct,
    omit_defaults=True,
    rename={
        "task": "t",
        "queue": "q",
        "priority": "p",
        "args": "a",
        "kwargs": "k",
        "created_ms": "c",
        "max_retries": "mr",
        "timeout_ms": "to",
        "result_ttl_ms": "rt",
        "headers": "h",
        "tags": "g",
        "origin": "o",
    },
):
    """One call: which task, where it waits, its arguments as the codec's bytes, and what `using()` was given.

    What the decorator says (`max_retries`, `timeout`, …) is read from the worker's code at run time, so that
    a deployment heals waiting tasks; here stands only what this one call was given. `created_ms` is the
    producer's estimate of Redis time. `origin` is the id of the dead letter that this one requeues.
    """

    task: str
    queue: str = "default"
    priority: int = 5
    args: bytes = b""
    kwargs: bytes = b""
    created_ms: int = 0
    max_retries: int | None = None
    timeout_ms: int | None = None
    result_ttl_ms: int | None = None
    headers: dict[str, str] | None = None
    tags: list[str] | None = None
    origin: str | None = None


class UnknownFrame(BadMessage):
    """Raised when a later release wrote the message: it is parked until a worker that reads it arrives."""

    def __init__(self, version: int, flags: int) -> None:
        super().__init__(
            f"frame version {version}, flags {flags}: this release reads version {FRAME_VERSION}"
        )
        self.version = version


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """Give the bytes that are stored."""
    return _FRAME + _encoder.encode(message)


def decode_message(data: bytes) -> Message:
    """Read a message.

    Raises:
        UnknownFrame: the frame is of a later version, or has flags that this release does not know.
        BadMessage: the bytes are no message.
    """
    if data[:2] != _FRAME:
        if len(data) >= 2 and FRAME_VERSION <= data[0] <= 15:
            raise UnknownFrame(data[0], data[1])
        raise BadMessage(f"{data[:40]!r} is no message")
    try:
        return _decoder.decode(memoryview(data)[2:])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadMessage(f"{data[:40]!r} is no message: {error}") from error
