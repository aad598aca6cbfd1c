"""A mail server for tests: it speaks as much SMTP as smtplib needs, and counts."""

from __future__ import annotations

import re
import socketserver
import threading
from collections import Counter
from types import TracebackType
from typing import Self

BUSY_TIMES = 2
_RECIPIENT = re.compile(rb"RCPT TO:<([^>]+)>", re.IGNORECASE)


class MailServer:
    """Takes mail for anyone but `nobody@…`, and for `busy@…` after two attempts.

    Attributes:
        tried: how often someone wanted to deliver to an address.
        delivered: how often a mail to it was taken.
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.tried: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        mails = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                mails._talk(self)

        self._server = socketserver.ThreadingTCPServer((self.host, 0), Handler)
        self._server.daemon_threads = True
        self._lock = threading.Lock()
        self.port = int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _talk(self, client: socketserver.StreamRequestHandler) -> None:
        to = ""
        client.wfile.write(b"220 tests\r\n")
        for line in client.rfile:
            answer = "250 ok"
            if found := _RECIPIENT.match(line):
                to = found[1].decode()
                answer = self._recipient(to)
            elif line.upper().startswith(b"DATA"):
                answer = self._message(to, client)
            elif line.upper().startswith(b"QUIT"):
                answer = "221 bye"
            client.wfile.write(f"{answer}\r\n".encode())

    def _recipient(self, address: str) -> str:
        with self._lock:
            self.tried[address] += 1
        return "550 no such user" if address.startswith("nobody@") else "250 ok"

    def _message(self, to: str, client: socketserver.StreamRequestHandler) -> str:
        if to.startswith("busy@") and self.tried[to] <= BUSY_TIMES:
            return "451 too busy, try again"
        client.wfile.write(b"354 go on\r\n")
        while client.rfile.readline().strip() != b".":
            pass
        with self._lock:
            self.delivered[to] += 1
        return "250 ok"
