"""A proxy before a server that can lie: it passes commands on, and may change what comes back or be slow."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Generator
from typing import BinaryIO

Change = Callable[[tuple[bytes, ...], bytes], bytes]
"""Given a command's words and the reply as it came, the reply that is passed on."""


@contextlib.contextmanager
def lying(port: int, change: Change, *, delay: float = 0.0) -> Generator[str]:
    """Give the URL of a proxy before the server on `port`; each reply comes `delay` seconds late."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, port, change, delay), daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket, port: int, change: Change, delay: float) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # the test is over
        threading.Thread(target=_talk, args=(client, port, change, delay), daemon=True).start()


def _talk(client: socket.socket, port: int, change: Change, delay: float) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        commands, replies = client.makefile("rb"), server.makefile("rb")
        with commands, replies:
            while raw := _read(commands):
                server.sendall(raw)
                reply = change(_words(raw), _read(replies))
                time.sleep(delay)
                client.sendall(reply)


def _read(stream: BinaryIO) -> bytes:
    """Read one RESP2 value, whole, as it came."""
    line = stream.readline()
    if line[:1] not in (b"*", b"$") or line[1:2] == b"-":
        return line
    size = int(line[1:])
    if line[:1] == b"$":
        return line + stream.read(size + 2)
    return line + b"".join(_read(stream) for _ in range(size))


def _words(raw: bytes) -> tuple[bytes, ...]:
    return tuple(raw.split(b"\r\n")[2::2])


def bulk(text: str) -> bytes:
    """Make a RESP2 string."""
    data = text.encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


def text_of(reply: bytes) -> str:
    """Read a RESP2 string."""
    return reply.partition(b"\r\n")[2][:-2].decode()
