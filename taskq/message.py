"""The message: one enqueued call, as it travels. It never changes once it is stored.

On the wire: a frame (`taskq.frame`) around a msgpack map with short keys. An unknown frame version parks the
task; unknown map fields are ignored, so that releases can run side by side.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from taskq.clock import LATEST_MS, LONGEST_MS
from taskq.errors import BadMessage, BadSignature, PayloadMismatch
from taskq.frame import PLAIN, FrameCodec, beginning, unchecked
from taskq.payloads import Aside, Payloads, Reference

# What `using()` accepts, held against what arrives, too: Redis refuses a longer TTL half-way through a settle, and a
# runner that cannot note a timeout is a thread less.
Span = Annotated[int, Meta(ge=0, le=LONGEST_MS)]
Instant = Annotated[int, Meta(ge=0, le=LATEST_MS)]
Count = Annotated[int, Meta(ge=0, lt=1 << 31)]


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
        "secrets": "x",
        "origin": "o",
        "payload": "l",
        "due_ms": "d",
    },
):
    """One call: which task, where it waits, its arguments as the codec's bytes, and what `using()` was given.

    What the decorator says (`max_retries`, `timeout`, …) is read from the worker's code at run time, so that
    a deployment heals waiting tasks; here stands only what this one call was given. `created_ms` is the
    producer's estimate of Redis time, and so is `due_ms`, which only those have that wait for an instant.
    `secrets` says which arguments are not shown (`taskq.redaction.Marks`), to those too who have none of the
    code. `origin` is the id of the dead letter that this one requeues. `payload` says where the arguments lie,
    if they are not here: `bring_back` fetches them.
    """

    task: str
    queue: str = "default"
    priority: Annotated[int, Meta(ge=0, le=9)] = 5
    args: bytes = b""
    kwargs: bytes = b""
    created_ms: Instant = 0
    max_retries: Count | None = None
    timeout_ms: Span | None = None
    """0: no limit."""
    result_ttl_ms: Span | None = None
    headers: dict[str, str] | None = None
    tags: list[str] | None = None
    secrets: list[int | str] | None = None
    origin: str | None = None
    payload: Reference | None = None
    due_ms: Instant = 0

    def __repr__(self) -> str:
        return f"<Message {self.task} in {self.queue}>"  # without its arguments: they may be secret


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)
_arguments = msgspec.msgpack.Decoder(tuple[bytes, bytes])


def encode_message(message: Message) -> bytes:
    """Give the bytes that are stored where nothing is signed or compressed."""
    return PLAIN + _encoder.encode(message)


def seal_message(message: Message, id: str, frames: FrameCodec, compress_over: int | None = None) -> bytes:
    """Give the bytes that are stored under `id`.

    Raises:
        PayloadTooLarge: they are more than may travel.
    """
    body = _encoder.encode(message)
    offloaded = message.payload is not None
    if frames.is_plain and compress_over is None and not offloaded and len(body) <= frames.max_payload:
        return PLAIN + body
    return frames.seal(body, "message", id, compress_over=compress_over, offloaded=offloaded)


def set_aside(
    message: Message, id: str, payloads: Payloads, compress_over: int | None = None
) -> tuple[Message, Aside]:
    """Give a message without its arguments, which it refers to, and them: they are to be stored before it is sent.

    Raises:
        PayloadTooLarge: they are more than may travel.
    """
    aside = payloads.aside(_encoder.encode((message.args, message.kwargs)), "message", id, compress_over)
    return msgspec.structs.replace(message, args=b"", kwargs=b"", payload=aside.reference), aside


def bring_back(message: Message, id: str, payloads: Payloads) -> None:
    """Fetch the arguments of a message that refers to them; it blocks.

    Raises:
        PayloadMissing, PayloadMismatch, PayloadUnavailable: as `Payloads.get` has them.
    """
    if message.payload is None:
        return
    try:
        message.args, message.kwargs = _arguments.decode(payloads.get(message.payload, id))
    except msgspec.MsgspecError as error:
        raise PayloadMismatch(f"the payload of task {id} holds no arguments: {error}") from error


def open_message(data: bytes, id: str, queue: str | None, frames: FrameCodec) -> tuple[Message, bool]:
    """Read what was stored under `id` in `queue`; gives whether its signature was verified, too.

    `queue` is None where it is not known any more.

    Raises:
        UnknownFrame: the frame is of a later version, or has flags that this release does not know.
        UnknownKey: a key that is not here has signed it.
        BadSignature: it is not signed though there are keys, was altered, or was signed for another place; as
            `MessageTooOld`, it is older than `max_age`.
        BadMessage: the bytes are no message, or too many.
    """
    if data[:2] == PLAIN and frames.keys is None and len(data) <= frames.max_payload:
        return _decode(memoryview(data)[2:], data), False
    body, verified = frames.open(data, "message", id)
    message = _decode(body, data)
    if verified:
        if queue is not None and message.queue != queue:
            raise BadSignature(
                f"the message is signed for queue {message.queue!r} and was found in {queue!r}: it was moved"
            )
        frames.check_age(max(message.created_ms, message.due_ms))
    return message, verified


def message_signature(data: bytes, id: str, queue: str | None, frames: FrameCodec) -> str | None:
    """Say of a message what `FrameCodec.signature` says; one that stands in a `queue` of another name is `invalid`."""
    said = frames.signature(data, "message", id)
    moved = said == "valid" and queue is not None and decode_message(data).queue != queue
    return "invalid" if moved else said


def decode_message(data: bytes) -> Message:
    """Read a message without a look at its signature: for listings.

    Raises:
        UnknownFrame: the frame is of a later version, or has flags that this release does not know.
        BadMessage: the bytes are no message.
    """
    return _decode(unchecked(data), data)


def _decode(body: bytes | memoryview, data: bytes) -> Message:
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadMessage(f"{beginning(data)} is no message: {error}") from error
