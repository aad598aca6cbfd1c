"""One connection: the pool has several, the worker's engine and the inbox wait on the sockets of their own."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable, Sequence
from typing import Any

from redis import exceptions as redis

from taskq.broker.command import Argument
from taskq.broker.connect import ServerURL, raw_connection
from taskq.broker.faults import DRIVER_ERRORS


def _found() -> Any:
    try:
        import hiredis
    except ImportError:
        return None
    return hiredis


_hiredis = _found()

pack: Callable[[tuple[Argument, ...]], bytes] | None = _hiredis and _hiredis.pack_command
"""Writes a command's words as they travel; None without hiredis."""

_MORE = object()
"""What a reader gives that has no whole reply yet."""

_READ = 65_536


def connect(url: ServerURL, timeout: float | None) -> Connection:
    """Connect and log in. `timeout`: seconds for a reply, more than it may block for.

    Raises:
        redis.RedisError: the server is not reached, or refuses the login.
    """
    driver: Any = raw_connection(url, timeout=timeout)  # the driver types little of it
    # Not memory://, which has no socket of its own; there is no public way to it. Windows and eventlet have no poll.
    if _hiredis is not None and hasattr(select, "poll") and isinstance(driver._sock, socket.socket):
        return _Direct(driver)
    return Connection(driver)


class Connection:
    """Sends words and reads replies, RESP2 as they come. Not safe for threads.

    What it raises are the driver's errors; `faults.classify` reads them. After one that breaks the connection
    it must be closed.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def fileno(self) -> int:
        """The socket, for a selector."""
        return int(self._driver._sock.fileno())

    def send(self, *commands: Sequence[Argument]) -> None:
        """Send commands in one write."""
        self._driver.send_packed_command(self._driver.pack_commands(commands))

    def read(self) -> Any:
        """Read one reply; a refusal of the server is raised as `ResponseError`, and the connection stays good."""
        return self._driver.read_response()

    def read_or_error(self) -> Any:
        """Read one reply; a refusal of the server is returned, so that the replies behind it are still read."""
        try:
            return self.read()
        except redis.ResponseError as error:
            return error

    def call(self, *words: Argument) -> Any:
        """Send one command and read its reply."""
        self.send(words)
        return self.read()

    def pending(self) -> bool:
        """True if a reply, or a part of one, can be read now; a selector does not see what the parser has buffered."""
        return bool(self._driver.can_read(timeout=0))

    def quiet(self) -> bool:
        """True if it is open and has nothing to read: fit for the next command."""
        try:
            return not self.pending()
        except DRIVER_ERRORS:
            return False

    def interrupt(self) -> None:
        """Let another thread, which reads here or is about to, meet a lost connection; it closes it then.

        To close it from here would free the descriptor under its feet, for the next socket to take.
        """
        if isinstance(getattr(self._driver, "_sock", None), socket.socket):
            with contextlib.suppress(OSError, AttributeError):  # closed just now
                self._driver._sock.shutdown(socket.SHUT_RDWR)
        else:
            self._driver.disconnect()  # of memory://, which has no descriptor and wakes who waits

    def close(self) -> None:
        """Close the socket."""
        self._driver.disconnect()


class _Direct(Connection):
    """hiredis on a socket that the driver has connected, whose layers take longer than a short command itself."""

    def __init__(self, driver: Any) -> None:
        super().__init__(driver)
        self._socket: socket.socket = driver._sock
        self._buffer = bytearray(_READ)
        self._reader = _hiredis.Reader(
            protocolError=redis.InvalidResponse,
            replyError=driver._parser.parse_error,
            notEnoughData=_MORE,
        )
        self._readable = select.poll()
        self._readable.register(self._socket, select.POLLIN)
        self._decrypted: Callable[[], int] = getattr(self._socket, "pending", lambda: 0)  # of TLS

    def send(self, *commands: Sequence[Argument]) -> None:
        pack = _hiredis.pack_command
        try:
            self._socket.sendall(b"".join([pack(tuple(words)) for words in commands]))
        except OSError as error:
            raise _driver_error(error) from error

    def read(self) -> Any:
        reply = self.read_or_error()
        if isinstance(reply, redis.ResponseError):
            raise reply
        return reply

    def read_or_error(self) -> Any:
        reader = self._reader
        while (reply := reader.gets()) is _MORE:
            try:
                size = self._socket.recv_into(self._buffer)
            except OSError as error:
                raise _driver_error(error) from error
            if not size:
                raise redis.ConnectionError("the server closed the connection")
            reader.feed(self._buffer, 0, size)
        if isinstance(reply, redis.ConnectionError):
            raise reply  # it answers, but loads its data, or has lost its master: the driver breaks off, too
        return reply

    def pending(self) -> bool:
        return bool(self._readable.poll(0)) or self._reader.has_data() or self._decrypted() > 0


def _driver_error(error: OSError) -> redis.RedisError:
    return (redis.TimeoutError if isinstance(error, TimeoutError) else redis.ConnectionError)(str(error))
