"""One connection without a pool, for those who wait on a socket themselves: the worker's engine and the inbox."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from taskq.broker.command import Argument
from taskq.broker.connect import ServerURL, raw_connection
from taskq.broker.faults import DRIVER_ERRORS

_pack: Any = None
with contextlib.suppress(ImportError):
    import hiredis

    _pack = getattr(hiredis, "pack_command")  # noqa: B009 - it is typed for one word only


class Connection:
    """Sends words and reads replies, RESP2 as they come. Not safe for threads.

    What it raises are the driver's errors; `faults.classify` reads them. After one that breaks the connection
    it must be closed.
    """

    def __init__(self, url: ServerURL, timeout: float | None) -> None:
        self._connection: Any = raw_connection(url, timeout=timeout)  # the driver types little of it

    def fileno(self) -> int:
        """The socket, for a selector."""
        return int(self._connection._sock.fileno())  # there is no public way to it

    def send(self, *commands: Sequence[Argument]) -> None:
        """Send commands in one write."""
        if _pack is None:
            packed = self._connection.pack_commands(commands)
        else:  # as the driver does, without its detours: batches have thousands of words
            packed = [b"".join([_pack(tuple(words)) for words in commands])]
        self._connection.send_packed_command(packed)

    def read(self) -> Any:
        """Read one reply; a refusal of the server is raised as `ResponseError`, and the connection stays good."""
        return self._connection.read_response()

    def read_or_error(self) -> Any:
        """Read one reply; a refusal of the server is returned, so that the replies behind it are still read."""
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error

    def call(self, *words: Argument) -> Any:
        """Send one command and read its reply."""
        self.send(words)
        return self._connection.read_response()

    def pending(self) -> bool:
        """True if a reply, or a part of one, can be read now; a selector does not see what the parser has buffered."""
        return bool(self._connection.can_read(timeout=0))

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
