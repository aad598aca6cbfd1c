"""The ceiling: what a worker could do at best on this machine, with these scripts, against this server.

A bare loop on a raw socket with hiredis: the very same `claim` and `settle` scripts in the same batches, one
write a turn, and the function called inline. No threads, no codec, no timeouts, no testimony.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlparse

import hiredis

from taskq.broker.command import script
from taskq.broker.commands.working import claim_words
from taskq.broker.keys import Keys
from taskq.message import decode_message

BATCH = 256
OUTCOME = b"\x83\xa1s\x00\xa1d\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xa1r\xc4\x01\x01"


class RawLink:
    """A blocking socket with hiredis on both ends of it."""

    def __init__(self, url: str) -> None:
        parts = urlparse(url)
        self._socket = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        if parts.password:
            self.send(("AUTH", parts.password))
            self.read()

    def send(self, *commands: tuple[Any, ...]) -> None:
        """Send commands in one write."""
        self._socket.sendall(b"".join([hiredis.pack_command(command) for command in commands]))

    def read(self) -> object:
        """Read one reply."""
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(262_144))
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def drain(url: str, keys: Keys, count: int, function: Callable[[], object]) -> float:
    """Run `count` tasks of queue `default`; gives the seconds it took."""
    link = RawLink(url)
    for name in ("hello", "claim", "settle"):
        link.send(("SCRIPT", "LOAD", script(name).text))
        link.read()
    link.send(("EVALSHA", script("hello").sha, 1, keys.meta, "ceiling", 600_000, b"", "default"))
    link.read()
    claim, settle = script("claim").sha, script("settle").sha
    words = claim_words(keys, ["default"])
    outcomes: list[str | bytes | int] = []
    done = 0
    seq = 1
    started = time.perf_counter()
    while done < count or outcomes:
        commands = []
        if outcomes:
            commands.append(("EVALSHA", settle, 1, keys.meta, "ceiling", *outcomes))
        commands.append(("EVALSHA", claim, 1, keys.meta, "ceiling", seq, BATCH, *words))
        link.send(*commands)
        if outcomes:
            link.read()
        reply = link.read()
        assert isinstance(reply, list)
        assert reply[0] == b"ok", reply
        seq += 1
        outcomes = []
        for i in range(4, len(reply), 4):
            message = decode_message(reply[i + 3])
            function()
            outcomes += (reply[i], reply[i + 1], "S", 600_000, message.task, 0, OUTCOME)
            done += 1
    elapsed = time.perf_counter() - started
    link.close()
    return elapsed
