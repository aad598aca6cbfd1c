"""Blocking connections that threads take and give back. redis-py's own pool costs more than a short command."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from taskq.broker.command import Argument
from taskq.broker.connect import MOST, POOL_WAIT, ServerURL
from taskq.broker.connection import Connection, connect
from taskq.broker.faults import breaks_connection

T = TypeVar("T")


class Pool:
    """At most `size` connections; who finds all in use waits `patience` seconds for one. Safe for threads."""

    def __init__(
        self, url: ServerURL, timeout: float, *, size: int = MOST, patience: float = POOL_WAIT
    ) -> None:
        self._url, self._timeout, self._size, self._patience = url, timeout, size, patience
        self._open = _Open(size)

    def call(self, *words: Argument) -> Any:
        """Send one command and read its reply; see `do`."""
        return self.do(Connection.call, *words)

    def do(self, talk: Callable[..., T], *args: Any) -> T:
        """Have `talk` speak on one connection, which is its own until it returns.

        Raises:
            RedisError, OSError: the driver's errors; `faults.classify` reads them.
        """
        opened = self._open
        if opened.pid != os.getpid():
            opened = self._open = _Open(self._size)  # a fork has no share in its parent's connections
        try:
            opened.permits.get(timeout=self._patience)
        except Empty:
            raise TimeoutError(f"all {self._size} connections were in use for {self._patience:g} s") from None
        try:
            connection = self._take(opened)
            try:
                reply = talk(connection, *args)
            except BaseException as error:
                # A reply may still be on its way, and would answer the next command.
                opened.give(connection, broken=breaks_connection(error))
                raise
            opened.give(connection)
            return reply
        finally:
            opened.permits.put(None)

    def _take(self, opened: _Open) -> Connection:
        while opened.idle:
            try:
                connection = opened.idle.pop()
            except IndexError:  # another thread was first
                break
            if connection.quiet():
                return connection
            connection.close()
        return connect(self._url, self._timeout)

    def close(self) -> None:
        """Close the connections, those in use as soon as they are given back."""
        opened, self._open = self._open, _Open(self._size)
        opened.close()


class _Open:
    """What one process has open; the one used last is taken first, so that few stay in use."""

    def __init__(self, size: int) -> None:
        self.pid = os.getpid()
        self.idle: deque[Connection] = deque()
        self.permits: SimpleQueue[None] = SimpleQueue()
        self._closed = False
        for _ in range(size):
            self.permits.put(None)

    def give(self, connection: Connection, *, broken: bool = False) -> None:
        if broken or self._closed:
            connection.close()
        else:
            self.idle.append(connection)

    def close(self) -> None:
        self._closed = True
        while self.idle:
            self.idle.pop().close()
