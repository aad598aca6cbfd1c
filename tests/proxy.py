"""A way to a server on which commands and answers get lost, at the very place that a test names."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import socketserver
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self

import hiredis

from taskq.broker.command import script

Words = list[bytes]


class Fate(Enum):
    """What becomes of a command. Where something is lost, its connection is cut."""

    PASS = auto()
    LOSE_COMMAND = auto()
    LOSE_REPLY = auto()
    """The server has done it, and nobody hears of that."""
    HALF_CLOSE = auto()
    """As `LOSE_REPLY`, but only the way back is closed: to the server, the client is still there."""


ALTERED: dict[str, str] = {}
"""The names of scripts that were altered for a test, by their SHA: they are known by their names, too."""


def all_pass(_words: Words) -> Fate:
    return Fate.PASS


def names(words: Words, *wanted: str) -> bool:
    """True if the command is one of these scripts, or plain commands in capitals."""
    if words[0] == b"EVALSHA":
        sha = words[1].decode()
        return ALTERED.get(sha) in wanted or sha in {script(name).sha for name in wanted if name.islower()}
    return words[0].decode().upper() in wanted


def nth(name: str, n: int, fate: Fate) -> Callable[[Words], Fate]:
    """Give `fate` to the n-th command of that name, counted from 1, and let all others pass."""
    seen: Counter[str] = Counter()

    def judge(words: Words) -> Fate:
        if not names(words, name):
            return Fate.PASS
        seen[name] += 1
        return fate if seen[name] == n else Fate.PASS

    return judge


def at_random(odds: Mapping[str, Mapping[Fate, float]], rng: random.Random) -> Callable[[Words], Fate]:
    """Give each command of a name in `odds` a fate by these probabilities, drawn from `rng`; all others pass."""

    def judge(words: Words) -> Fate:
        for name, fates in odds.items():
            if names(words, name):
                drawn = rng.random()
                for fate, probability in fates.items():
                    drawn -= probability
                    if drawn < 0:
                        return fate
        return Fate.PASS

    return judge


class Proxy:
    """Passes commands on one by one, each judged by `judge`, which a test may replace at any time.

    Args:
        port: the server's.
        judge: says what becomes of a command; it may sleep, which delays that command alone.
        delay: the seconds that each reply waits before it is passed back.
        reset: whether the client of a connection that is cut sees a reset (RST) in place of its end (FIN).
    """

    def __init__(
        self,
        port: int,
        judge: Callable[[Words], Fate] = all_pass,
        delay: float = 0.0,
        *,
        reset: bool = False,
    ) -> None:
        self.judge, self.delay, self.reset = judge, delay, reset
        self.lost: Counter[Fate] = Counter()
        self.heals = threading.Event()
        """Clear while nothing passes."""
        self.heals.set()
        self.dead_before = 0
        """Connections with a lower number are not known any more on the way: nothing passes, and nobody hears why."""
        self.connections = 0
        self.over = threading.Event()
        self._server_port = port
        self._listener = _Listener(("127.0.0.1", 0), _Connection)
        self._listener.proxy = self
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.server_address[1]}/0"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join(5)

    @contextlib.contextmanager
    def blackhole(self, *, forgets: bool = False) -> Generator[None]:
        """Let nothing pass for the body, not even the end of a connection.

        What was on its way comes afterwards; unless the way `forgets`, as a firewall's table does: then all connections
        of until then stay dead.
        """
        self.heals.clear()
        try:
            yield
        finally:
            if forgets:
                self.dead_before = self.connections
            self.heals.set()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._server_port))


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128  # after a cut, everyone comes back at once
    proxy: Proxy

    def shutdown_request(self, request: Any) -> None:
        if self.proxy.reset:
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.close()  # without a shutdown before it: that would send a FIN
        else:
            super().shutdown_request(request)


class _Connection(socketserver.BaseRequestHandler):
    server: _Listener  # pyright: ignore[reportIncompatibleVariableOverride] - it serves no other
    request: socket.socket

    def handle(self) -> None:
        self.number = self.server.proxy.connections
        self.server.proxy.connections += 1
        with contextlib.suppress(OSError), self.server.proxy.connect() as upstream:
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            commands = hiredis.Reader()
            while data := self.request.recv(65_536):
                commands.feed(data)
                while (words := commands.gets()) is not False:
                    if not self._pass_on(words, upstream):
                        return
            self._wait()

    def _wait(self) -> None:
        """Wait until something passes on this connection; if nothing ever does again, until the proxy ends."""
        proxy = self.server.proxy
        proxy.heals.wait()
        if self.number < proxy.dead_before:
            proxy.over.wait()

    def _pass_on(self, words: Words, upstream: socket.socket) -> bool:
        proxy = self.server.proxy
        fate = proxy.judge(words)
        proxy.lost[fate] += 1
        if fate is Fate.LOSE_COMMAND:
            return False
        self._wait()
        upstream.sendall(_packed(words))
        reply = _reply(upstream, self.request)
        self._wait()
        if fate is Fate.HALF_CLOSE:
            self.request.shutdown(socket.SHUT_WR)
            while self.request.recv(65_536):
                pass  # the client sends into the void until it closes its side, too
            return False
        if fate is Fate.LOSE_REPLY or not reply:
            return False
        time.sleep(proxy.delay)
        self.request.sendall(reply)
        return True


def _packed(words: Words) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def _reply(upstream: socket.socket, client: socket.socket) -> bytes:
    """The bytes of one reply, which is all that comes while one command is out; b'' if either side hangs up."""
    reader: Any = hiredis.Reader()
    reply = b""
    sides = [upstream, client]
    while True:
        ready, _, _ = select.select(sides, [], [])
        if client in ready:
            if not client.recv(1, socket.MSG_PEEK):
                return b""
            sides = [upstream]  # it has sent its next command already
        if upstream in ready:
            data = upstream.recv(65_536)
            reader.feed(data)
            reply += data
            if not data:
                return b""
            if reader.gets() is not False:
                return reply
