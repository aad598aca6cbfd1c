"""`memory://NAME`: a server in this process's memory, for tests: fakeredis, with Lua.

Each name is one server, which the clients of this process share and no other process sees.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from taskq.errors import ConfigurationError

try:
    from fakeredis import FakeRedisConnection, FakeServer
    from fakeredis._core import Database  # there is no public way to the clock that keys expire by
    from fakeredis.aioredis import FakeAsyncRedisConnection
except ImportError as error:
    raise ConfigurationError('memory:// needs fakeredis: install taskq\'s extra "fake"') from error


class MemoryServer(FakeServer):
    """One server. `clock` gives its time, in seconds since the epoch: for `TIME`, and for what expires."""

    def __init__(self) -> None:
        super().__init__(version=(7, 0))
        self.clock: Callable[[], float] = time.time
        self.dbs = defaultdict(lambda: _Database(self))

    def time(self) -> list[bytes]:
        """Answer the command `TIME`."""
        seconds, micros = divmod(round(self.clock() * 1_000_000), 1_000_000)
        return [b"%d" % seconds, b"%d" % micros]


class _Database(Database):
    """Keys that expire by their server's clock; fakeredis would set `time` before each command."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        super().__init__(server.lock)

    @property
    def time(self) -> float:
        return self._server.clock()

    @time.setter
    def time(self, value: float) -> None:
        pass


class _Connection(FakeRedisConnection):
    _server: MemoryServer

    def _connect(self) -> Any:
        sock: Any = super()._connect()
        sock.time = self._server.time
        return sock

    def update_current_socket_timeout(self, relaxed_timeout: float | None = None) -> None:
        """Replies are there at once: there is nothing to time out."""

    def disconnect(self, *args: Any) -> None:
        sock: Any = self._sock
        driver: Any = super()  # not typed there
        if sock is not None and sock._blocked:
            # Another thread waits in a command: it has to wake, as it would at the end of a real connection.
            self._sock = None
            with self._server.lock:
                sock._unblock_reason = b"timeout"
                sock._db.wake_all()
            return
        with contextlib.suppress(ValueError):  # another thread is in the middle of a command
            driver.disconnect(*args)


class _AsyncConnection(FakeAsyncRedisConnection):
    _server: MemoryServer

    async def _connect(self) -> None:
        await super()._connect()
        sock: Any = self._sock
        sock.time = self._server.time


_servers: dict[str, MemoryServer] = {}
_lock = threading.Lock()


def server(name: str) -> MemoryServer:
    """Give the server of a name, made at the first use."""
    with _lock:
        if name not in _servers:
            _servers[name] = MemoryServer()
        return _servers[name]


def forget(name: str) -> None:
    """Drop a server with all that it holds; who is connected keeps it."""
    with _lock:
        _servers.pop(name, None)


def connection_of(name: str, *, is_async: bool) -> dict[str, Any]:
    """Give what the driver makes connections to a server with."""
    kind: type[Any] = _AsyncConnection if is_async else _Connection
    return {"connection_class": kind, "server": server(name)}
