"""What is said between a worker process, its fork server, and the forks.

With the server in frames of one size, for a frame that brings descriptors has to be read by itself; with a fork, over
the line, in msgpack, each value with its length before it.
"""

from __future__ import annotations

import socket
import struct
from enum import IntFlag
from typing import NamedTuple, TypeVar

import msgspec

from taskq.broker.commands.working import Kind
from taskq.message import Message

T = TypeVar("T")

NEVER = -1
"""In place of a number of ms or bytes: no limit."""


class Why(IntFlag):
    """Why a fork is interrupted or killed."""

    SOFT = 1
    """Its soft timeout is over."""
    HARD = 2
    """Its timeout is over."""
    CANCELLED = 4
    """Somebody cancelled the task."""
    SETTLED = 8
    """It has told its verdict, and is to end soon. It is not interrupted for that."""


class Ask(NamedTuple):
    """What the worker process asks of the server, about the fork of this number.

    Without `why`, it is to be made: the frame brings the line and the leash, and the limits are its own. With it, it is
    to be interrupted for that, and killed if it has not ended `kill_after_ms` later.
    """

    number: int
    why: int = 0
    soft_ms: int = NEVER
    hard_ms: int = NEVER
    kill_after_ms: int = 0
    max_memory: int = NEVER


class End(NamedTuple):
    """What the server tells of a fork that has ended. `code` is negative for a signal, `pid` is 0 if there was none.

    `killed_for` is the `Why` that the server killed it for, 0 if it ended by itself. `errno` says why it could not be
    made.
    """

    number: int
    pid: int = 0
    code: int = 0
    killed_for: int = 0
    errno: int = 0


ASK = struct.Struct("<6q")
END = struct.Struct("<5q")
_LENGTH = struct.Struct("<Q")
_MOST = 1 << 30
"""No server takes an outcome of as many bytes: what says so is broken."""


class Order(msgspec.Struct, array_like=True):
    """One run, as the fork is given it: what the claim gave, and the Redis time at zero of the monotonic clock."""

    id: str
    g: int
    message: Message
    failures: int
    crashes: int
    process: str
    signed: bool
    settled: bool
    """Its outcome was given at its start."""
    zero_ms: int


class Word(msgspec.Struct, array_like=True):
    """What a fork says: a verdict, or the name of an object that no message refers to any more."""

    kind: Kind = Kind.RELEASED
    ms: int = 0
    took: float = 0.0
    outcome: bytes = b""
    still_runs: bool = False
    discard: str = ""


def say(line: socket.socket, what: msgspec.Struct) -> None:
    """Write a value. Raises OSError if the other end is gone."""
    body = msgspec.msgpack.encode(what)
    line.sendall(_LENGTH.pack(len(body)) + body)


ORDERS, WORDS = msgspec.msgpack.Decoder(Order), msgspec.msgpack.Decoder(Word)
"""Made here, so that no fork has to."""


def hear(line: socket.socket, decoder: msgspec.msgpack.Decoder[T]) -> T | None:
    """Read a value; None at the end of the line, and for what no `say` wrote, or did not finish."""
    head = read(line, _LENGTH.size)
    length = _LENGTH.unpack(head)[0] if head else 0
    body = read(line, length) if 0 < length <= _MOST else None
    try:
        return None if body is None else decoder.decode(body)
    except msgspec.MsgspecError:
        return None


def read(line: socket.socket, size: int) -> bytes | None:
    """Read just so many bytes; None if the line ends before."""
    data = bytearray()
    while len(data) < size:
        try:
            some = line.recv(min(size - len(data), 1 << 20))
        except OSError:
            return None
        if not some:
            return None
        data += some
    return bytes(data)
