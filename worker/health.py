"""/livez and /readyz over HTTP, in the supervisor's own loop: no thread, so that it answers only while that turns."""

from __future__ import annotations

import contextlib
import selectors
import socket
from collections.abc import Callable
from http import HTTPStatus

from taskq.errors import ConfigurationError

Check = Callable[[], str]
"""Gives what is wrong; empty if nothing is."""

_LONGEST_REQUEST = 8_192
_MOST_CLIENTS = 64


class Health:
    """A listening socket and its clients."""

    def __init__(self, address: str, checks: dict[str, Check]) -> None:
        host, colon, port = address.rpartition(":")
        if not (colon and port.isdecimal()):
            raise ConfigurationError(f"--health {address}: write it as HOST:PORT, for example 127.0.0.1:8080")
        try:
            self._server = socket.create_server((host.strip("[]"), int(port)), family=_family(host))
        except (OSError, ValueError, OverflowError) as error:
            raise ConfigurationError(f"--health {address}: {error}; give HOST:PORT of a free port") from error
        self._server.setblocking(False)
        self._checks = checks
        self._selector: selectors.BaseSelector | None = None
        self._clients: set[socket.socket] = set()

    @property
    def port(self) -> int:
        """The port, where 0 was asked for."""
        return int(self._server.getsockname()[1])

    def start(self, selector: selectors.BaseSelector) -> None:
        """Answer from now on, whenever `selector` says that something is readable."""
        self._selector = selector
        selector.register(self._server, selectors.EVENT_READ, self._accept)

    def stop(self) -> None:
        """Close all."""
        for client in list(self._clients):
            self._close(client)
        if self._selector is not None:
            self._selector.unregister(self._server)
        self.close()

    def close(self) -> None:
        """Close the sockets only: what a forked child does with those of its parent."""
        self._server.close()
        for client in self._clients:
            client.close()

    def _accept(self) -> None:
        assert self._selector is not None
        try:
            client, _ = self._server.accept()
        except OSError:
            return
        client.setblocking(False)
        if len(self._clients) >= _MOST_CLIENTS:
            client.close()
            return
        self._clients.add(client)
        request = bytearray()
        self._selector.register(client, selectors.EVENT_READ, lambda: self._read(client, request))

    def _read(self, client: socket.socket, request: bytearray) -> None:
        try:
            data = client.recv(_LONGEST_REQUEST)
        except OSError:
            data = b""
        request += data
        if b"\r\n\r\n" in request or b"\n\n" in request:
            self._answer(client, request)
        elif data and len(request) < _LONGEST_REQUEST:
            return  # the rest is on its way
        self._close(client)

    def _answer(self, client: socket.socket, request: bytearray) -> None:
        method, _, rest = request.decode("latin-1").partition(" ")
        check = self._checks.get(rest.split(" ")[0].partition("?")[0])
        if method not in ("GET", "HEAD"):
            status, text = HTTPStatus.METHOD_NOT_ALLOWED, "only GET"
        elif check is None:
            status, text = HTTPStatus.NOT_FOUND, f"there are {' and '.join(self._checks)}"
        else:
            wrong = check()
            status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
            text = wrong or "ok"
        body = f"{text}\n".encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        with contextlib.suppress(OSError):  # it may have gone
            client.send(head.encode() + (b"" if method == "HEAD" else body))

    def _close(self, client: socket.socket) -> None:
        assert self._selector is not None
        self._clients.discard(client)
        self._selector.unregister(client)
        client.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
