"""The frame around a message or an outcome: signed, bounded, compressed where it was asked for.

On the wire: a byte of frame version and a byte of flags; if it is signed, a byte with the length of the key's id, the
id, and the MAC; then the body, which is 4 bytes with its size and a zlib stream if it is compressed. The MAC covers
what the frame is (`message` or `outcome`), namespace, shard, the task's id and what else is to fit, the frame's head,
and the body. It is checked before anything is parsed, unpacked or fetched.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from taskq.config import AppConfig
from taskq.errors import BadMessage, BadSignature, MessageTooOld, PayloadTooLarge
from taskq.names import shard_of
from taskq.signing import KNOWS_KEY, MAC_BYTES, KeyRing, is_key_id

T = TypeVar("T", bytes, memoryview)

FRAME_VERSION = 1
SIGNED = 1
COMPRESSED = 2
OFFLOADED = 4
_KNOWN_FLAGS = SIGNED | COMPRESSED | OFFLOADED
PLAIN = bytes((FRAME_VERSION, 0))
_SIZE_BYTES = 4

READS_FRAME = "taskq.frame:"
"""With a version, or a version and a flag, behind it: the task name under which a message is parked that has one which
is not known here, and under which a release that adds one registers that it reads it."""

READS_OFFLOADED = f"{READS_FRAME}{FRAME_VERSION}:{OFFLOADED}"
"""What a worker registers that has a store of payloads."""

LARGEST = 64 * 1024 * 1024
"""How many bytes a message or an outcome may take where nothing else is said, and about how many one command carries:
a server hangs up on what is too large for it (512 MB a value, 1 GB a command), and whoever repeats that command would
never get on."""


class UnknownFrame(BadMessage):
    """Raised when a later release wrote the frame: a task is parked until a worker that reads it arrives."""

    def __init__(self, version: int, flags: int) -> None:
        super().__init__(
            f"frame version {version}, flags {flags}: this release reads version {FRAME_VERSION}, "
            f"flags {_KNOWN_FLAGS} and fewer"
        )
        unknown = flags & ~_KNOWN_FLAGS if version == FRAME_VERSION else 0
        lowest = f":{unknown & -unknown}" if unknown else ""
        self.parked_under = f"{READS_FRAME}{version}{lowest}"


class UnknownKey(BadSignature):
    """Raised when a key that is not here has signed: a task is parked until a worker that has it arrives."""

    def __init__(self, key_id: str, keys: KeyRing | None) -> None:
        here = f"the keys here are {', '.join(keys.ids)}" if keys else "there are no signing keys here"
        super().__init__(f"it is signed with key {key_id!r}, and {here}")
        self.key_id = key_id
        self.parked_under = KNOWS_KEY + key_id


def beginning(data: bytes | memoryview) -> str:
    """Name bytes that cannot be read by a few of them: in the rest there may be what is secret."""
    return f"{bytes(data[:8])!r}… ({len(data):,} bytes)"


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A frame, taken apart and not checked. `key_id` is "" where it is not signed."""

    flags: int
    key_id: str
    mac: bytes
    body: memoryview


def split(data: bytes) -> Frame:
    """Take a frame apart.

    Raises:
        UnknownFrame: it is of a later version, or has flags that this release does not know.
        BadMessage: it is none.
    """
    if data[:2] == PLAIN:
        return Frame(0, "", b"", memoryview(data)[2:])
    if len(data) < 2 or not FRAME_VERSION <= data[0] <= 15:
        raise BadMessage(f"{beginning(data)} is no message")
    flags = data[1]
    if data[0] != FRAME_VERSION or flags & ~_KNOWN_FLAGS:
        raise UnknownFrame(data[0], flags)
    if not flags & SIGNED:
        return Frame(flags, "", b"", memoryview(data)[2:])
    end = 3 + data[2] if len(data) > 2 else 3
    key_id, mac = data[3:end].decode("ascii", "replace"), data[end : end + MAC_BYTES]
    if len(mac) != MAC_BYTES or not key_id:
        raise BadMessage(f"{data[:40]!r} has a signature of a wrong form")
    return Frame(flags, key_id, mac, memoryview(data)[end + MAC_BYTES :])


class FrameCodec:
    """Writes and reads the frames of one namespace.

    Args:
        namespace: stands in what is signed, and so does the shard, of `shards`.
        keys: what signs and verifies; None, and nothing is signed.
        accept_unsigned: with keys, read what is not signed all the same: for the time when keys are introduced.
        max_payload: how many bytes a body may take, packed and unpacked.
        compress_over: bodies above this many bytes are compressed where nothing else is said; None for none.
        max_age_ms: how old a signed message may be that is read to be run; None for any age.
        now_ms: gives Redis time, 0 where it is not known yet.
    """

    def __init__(
        self,
        namespace: str = "taskq",
        shards: int = 1,
        keys: KeyRing | None = None,
        *,
        accept_unsigned: bool = False,
        max_payload: int = LARGEST,
        compress_over: int | None = None,
        max_age_ms: int | None = None,
        now_ms: Callable[[], int] = int,
    ) -> None:
        self.keys = keys
        self.max_payload = max_payload
        self._namespace, self._shards = namespace, shards
        self.accepts_unsigned = accept_unsigned
        self._compress_over = compress_over
        self._max_age_ms, self._now_ms = max_age_ms, now_ms
        signer = keys.signer.encode() if keys else b""
        self._signer = bytes((len(signer),)) + signer
        self.is_plain = keys is None and compress_over is None
        """Nothing is signed, and compressed only what asks for it: most bodies need no look at all."""

    @classmethod
    def of(
        cls, config: AppConfig, namespace: str, shards: int, now_ms: Callable[[], int] = int
    ) -> FrameCodec:
        """Make what a configuration asks for, for the namespace that is in use; `now_ms` as above."""
        return cls(
            namespace,
            shards,
            config.signing_keys,
            accept_unsigned=config.accept_unsigned,
            max_payload=config.max_payload,
            compress_over=config.compress_over,
            max_age_ms=config.max_age_ms,
            now_ms=now_ms,
        )

    @property
    def longest_text(self) -> int:
        """How many characters of an error travel, so that its outcome keeps below `max_payload`."""
        return min(16_384, self.max_payload // 16)

    def seal(
        self,
        body: bytes,
        what: str,
        id: str,
        fits: str = "",
        *,
        compress_over: int | None = None,
        plain: bytes = PLAIN,
        offloaded: bool = False,
    ) -> bytes:
        """Frame a body. `what` is "message" or "outcome"; `fits` is what the reader must find beside it.

        `plain` stands before a body that has no flag. `offloaded`: the body refers to a payload in a store, which
        a release that cannot fetch it must not overlook.

        Raises:
            PayloadTooLarge: it has more than `max_payload` bytes.
        """
        if len(body) > self.max_payload:
            raise PayloadTooLarge(
                f"the {what} of task {id} has {len(body):,} bytes, and max_payload allows {self.max_payload:,}; "
                "store the data elsewhere and send where it is, or raise max_payload at both ends"
            )
        flags = OFFLOADED if offloaded else 0
        over = self._compress_over if compress_over is None else compress_over
        if over is not None and len(body) > over and (packed := pack(body)) is not None:
            flags, body = flags | COMPRESSED, packed
        if self.keys is None:
            return (bytes((FRAME_VERSION, flags)) if flags else plain) + body
        head = bytes((FRAME_VERSION, flags | SIGNED)) + self._signer
        return head + self.keys.sign(self._place(what, id, fits) + head + body) + body

    def open(self, data: bytes, what: str, id: str, fits: str = "") -> tuple[memoryview | bytes, bool]:
        """Give the body of a frame, and whether its signature was verified.

        Raises:
            UnknownFrame: a later release wrote it.
            UnknownKey: a key that is not here has signed it.
            BadSignature: it is not signed though there are keys, was altered, or belongs elsewhere.
            BadMessage: it is no frame, or too large.
        """
        frame = split(data)
        flags, body = frame.flags, self.bounded(frame.body)
        if flags & SIGNED:
            verified = self._verify(frame, data, what, id, fits)
        else:
            self.check_unsigned(what)
            verified = False
        return (unpack(body, self.max_payload) if flags & COMPRESSED else body), verified

    def check_unsigned(self, what: str) -> None:
        """Raise `BadSignature` if what has no signature is not to be read."""
        if self.keys is not None and not self.accepts_unsigned:
            raise BadSignature(
                f"the {what} is not signed, and here are signing keys; whoever made it has none"
            )

    def check_age(self, since_ms: int) -> None:
        """Raise `MessageTooOld` if what was sent, or fell due, at that Redis time is too old to be run."""
        if self._max_age_ms is None:
            return
        age_ms = (self._now_ms() or time.time_ns() // 1_000_000) - since_ms
        if age_ms > self._max_age_ms:
            raise MessageTooOld(
                f"the message is {age_ms / 1_000:,.0f} s old, and max_age allows {self._max_age_ms / 1_000:,.0f}: "
                "it was sent again, or has waited for too long"
            )

    def bounded(self, body: T) -> T:
        """Give `body` if it is not too large to be read; else raise `BadMessage`."""
        if len(body) > self.max_payload:
            raise _too_large(len(body), self.max_payload)
        return body

    def _verify(self, frame: Frame, data: bytes, what: str, id: str, fits: str) -> bool:
        keys = self.keys
        if keys is None and what == "outcome":
            return False  # to read it runs nothing, and an app without keys trusts its server anyway
        key_id = frame.key_id
        if keys is None or key_id not in keys:
            if not is_key_id(key_id):
                raise BadMessage(f"the {what} has a signature of a wrong form")
            raise UnknownKey(key_id, keys)
        signed = b"".join((self._place(what, id, fits), data[: 3 + len(key_id)], frame.body))
        if not keys.verifies(key_id, frame.mac, signed):
            raise BadSignature(
                f"the signature of the {what} does not fit (key {key_id!r}): it was altered, or moved here "
                "from another id, shard or namespace"
            )
        return True

    def signature(self, data: bytes, what: str, id: str, fits: str = "") -> str | None:
        """Say of a frame's signature that it is `valid`, `invalid`, `missing`, by an `unknown key`, or `not checked`.

        The last where there are no keys; None where there are neither keys nor a signature, or no frame.
        """
        try:
            signed = split(data).flags & SIGNED
            if self.keys is None:
                return "not checked" if signed else None
            if not signed:
                return "missing"
            self.open(data, what, id, fits)
        except UnknownKey:
            return "unknown key"
        except BadSignature:
            return "invalid"
        except BadMessage:
            return None
        return "valid"

    def _place(self, what: str, id: str, fits: str) -> bytes:
        shard = 0 if self._shards == 1 else shard_of(id, self._shards)
        # The id comes with its length, and nothing else here has a NUL: no two places look alike.
        text = f"taskq {what}\0{self._namespace}\0{shard}\0{len(id)}\0{id}\0{fits}\0"
        return text.encode("utf-8", "surrogateescape")


NO_KEYS = FrameCodec()
"""Signs nothing and checks nothing, for who has no keys."""


def unchecked(data: bytes) -> memoryview | bytes:
    """Give the body of a frame without a look at its signature: for listings, which show what is there.

    Raises:
        UnknownFrame: a later release wrote it.
        BadMessage: it is no frame, or too large.
    """
    frame = split(data)
    return unpack(frame.body, LARGEST) if frame.flags & COMPRESSED else frame.body


def pack(body: bytes) -> bytes | None:
    """Compress a body, its size before it; None if it does not get smaller."""
    packed = len(body).to_bytes(_SIZE_BYTES, "big") + zlib.compress(body, 1)
    return packed if len(packed) < len(body) else None


def unpack(body: memoryview, most: int) -> bytes:
    """Give what `pack` was given.

    Raises:
        BadMessage: it would be more than `most` bytes, or is not what `pack` made.
    """
    size = int.from_bytes(body[:_SIZE_BYTES], "big")
    if size > most:
        raise _too_large(size, most)
    unpacker = zlib.decompressobj()
    try:
        # One byte past what it says tells that there is more, whatever that would grow to.
        unpacked = unpacker.decompress(body[_SIZE_BYTES:], size + 1)
    except zlib.error as error:
        raise BadMessage(f"it cannot be decompressed: {error}") from error
    if len(unpacked) != size or not unpacker.eof:
        raise BadMessage(f"it does not decompress to the {size:,} bytes that it says")
    return unpacked


def _too_large(size: int, most: int) -> BadMessage:
    return BadMessage(f"it has {size:,} bytes, and max_payload allows {most:,}")
