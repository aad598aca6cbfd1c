"""One connection without a pool, for those who wait on a socket themselves: the worker's engine and the inbox."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from redis import exceptions as redis
from redis.exceptions import ResponseError

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

_MORE = object()
"""What a reader gives that has no whole reply yet."""

_READ = 65_536


class Connection:
    """Sends words and reads replies, RESP2 as they come. Not safe for threads.

    What it raises are the driver's errors; `faults.classify` reads them. After one that breaks the connection
    it must be closed.
    """

    def __init__(self, url: ServerURL, timeout: float | None) -> None:
        self._connection: Any = raw_connection(url, timeout=timeout)  # the driver types little of it
        self._direct = _direct(self._connection)

    def fileno(self) -> int:
        """The socket, for a selector."""
        return int(self._connection._sock.fileno())  # there is no public way to it

    def send(self, *commands: Sequence[Argument]) -> None:
        """Send commands in one write."""
        if self._direct is None:
            self._connection.send_packed_command(self._connection.pack_commands(commands))
        else:
            self._direct.send(commands)

    def read(self) -> Any:
        """Read one reply; a refusal of the server is raised as `ResponseError`, and the connection stays good."""
        reply = self.read_or_error()
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    def read_or_error(self) -> Any:
        """Read one reply; a refusal of the server is returned, so that the replies behind it are still read."""
        if self._direct is not None:
            return self._direct.read()
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error

    def call(self, *words: Argument) -> Any:
        """Send one command and read its reply."""
        self.send(words)
        return self.read()

    def pending(self) -> bool:
        """True if a reply, or a part of one, can be read now; a selector does not see what the parser has buffered."""
        buffered = self._direct is not None and self._direct.buffered()
        return buffered or bool(self._connection.can_read(timeout=0))

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
        if isinstance(getattr(self._connection, "_sock", None), socket.socket):
            with contextlib.suppress(OSError, AttributeError):  # closed just now
                self._connection._sock.shutdown(socket.SHUT_RDWR)
        else:
            self._connection.disconnect()  # of memory://, which has no descriptor and wakes who waits

    def close(self) -> None:
        """Close the socket."""
        self._connection.disconnect()


def _direct(connection: Any) -> _Direct | None:
    # The driver only connects, if it can be: its layers take longer than what a short command does itself.
    possible = _hiredis is not None and isinstance(connection._sock, socket.socket)
    return _Direct(connection) if possible else None


class _Direct:
    """hiredis on a socket that the driver has connected. It raises the driver's errors, too."""

    def __init__(self, connection: Any) -> None:
        self._sock: socket.socket = connection._sock
        self._buffer = bytearray(_READ)
        self._reader = _hiredis.Reader(
            protocolError=redis.InvalidResponse,
            replyError=connection._parser.parse_error,
            notEnoughData=_MORE,
        )

    def send(self, commands: Sequence[Sequence[Argument]]) -> None:
        pack = _hiredis.pack_command
        packed = b"".join([pack(tuple(words)) for words in commands])
        try:
            self._sock.sendall(packed)
        except OSError as error:
            raise _driver_error(error) from error

    def read(self) -> Any:
        reader = self._reader
        while (reply := reader.gets()) is _MORE:
            try:
                size = self._sock.recv_into(self._buffer)
            except OSError as error:
                raise _driver_error(error) from error
            if not size:
                raise redis.ConnectionError("the server closed the connection")
            reader.feed(self._buffer, 0, size)
        if isinstance(reply, redis.ConnectionError):
            raise reply  # it answers, but loads its data, or has lost its master: the driver breaks off, too
        return reply

    def buffered(self) -> bool:
        return bool(self._reader.has_data())


def _driver_error(error: OSError) -> redis.RedisError:
    return (redis.TimeoutError if isinstance(error, TimeoutError) else redis.ConnectionError)(str(error))
