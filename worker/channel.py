"""The way between a supervisor and a child: one JSON object a line over a socket pair.

Each sees at once when the other has died: the line ends.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import msgspec

_MOST_UNSENT = 1_000_000
_decoder = msgspec.json.Decoder(dict[str, Any])


class Channel:
    """One end. `closed` is True once the other end is gone."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._socket.setblocking(False)
        self._rest = b""
        self._unsent = b""
        self.closed = False

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Make both ends."""
        one, other = socket.socketpair()
        return cls(one), cls(other)

    def fileno(self) -> int:
        """For a selector, or for an executed child."""
        return self._socket.fileno()

    def send(self, **message: Any) -> None:
        """Send one message, never waiting: what a stopped reader has no room for goes out with a later one."""
        if len(self._unsent) < _MOST_UNSENT:
            self._unsent += msgspec.json.encode(message) + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what could not be sent yet."""
        try:
            while self._unsent and not self.closed:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.closed = True

    def messages(self) -> Iterator[dict[str, Any]]:
        """Give what has arrived, without waiting."""
        while True:
            try:
                data = self._socket.recv(65_536)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.closed = True
                break
            self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            yield _decoder.decode(line)

    def close(self) -> None:
        """Close this end."""
        self.closed = True
        self._socket.close()
