"""The inbox: how a client hears that tasks ended. Nothing polls.

One daemon thread and one blocking connection a shard serve every waiter of the client, threads and event loops
alike. A message about an end may be lost (a full server registers nobody), so all are looked up every 30 s.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any
from weakref import WeakKeyDictionary

from taskq.broker.batcher import Batcher
from taskq.broker.command import Command
from taskq.broker.commands import producing
from taskq.broker.connect import ServerURL
from taskq.broker.connection import Connection, connect
from taskq.broker.conversation import pause_after
from taskq.broker.faults import DRIVER_ERRORS
from taskq.broker.keys import Keys
from taskq.errors import BadMessage, BrokerError, TaskqError
from taskq.names import new_process_id
from taskq.record import Record, State

log = logging.getLogger("taskq.broker")

End = Record | None
"""The record of a task that ended, or None when nothing is known of the id."""

RECHECK_S = 30
_TROUBLE: tuple[type[Exception], ...] = (*DRIVER_ERRORS, TaskqError)
_BATCH = 500


class _Wait:
    """What is waited for, and by how many."""

    __slots__ = ("future", "waiters")

    def __init__(self) -> None:
        self.future: Future[End] = Future()
        self.waiters = 0


class Inbox:
    """Waits for ends on one shard, for everyone in this client."""

    def __init__(
        self,
        url: ServerURL,
        keys: Keys,
        call: Callable[..., Any],
        acall: Callable[[Command[Any]], Awaitable[Any]],
    ) -> None:
        self._url, self._keys, self._call, self._acall = url, keys, call, acall
        self._client = new_process_id()
        self._waits: dict[str, _Wait] = {}
        self._lock = threading.Lock()
        self._waiters = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._connection: Connection | None = None
        self._closed = False
        self._gave_up = False
        """True once somebody waited no longer: the end of that may be told when nobody listens."""
        self._doubtful = False
        """True until all is read that may be of a life before: an id may be discarded, and used again."""
        self._batchers: WeakKeyDictionary[asyncio.AbstractEventLoop, Batcher[str, None]] = WeakKeyDictionary()

    def watch(self, ids: Sequence[str], patience: float | None = None) -> dict[str, Future[End]]:
        """Give a future for each id; all waiters of one id share it. Who gives up calls `forget`.

        May raise what the broker raises; `patience` is as for `Broker.call`.
        """
        futures, new = self._enlist(ids)
        try:
            for start in range(0, len(new), _BATCH):
                some = new[start : start + _BATCH]
                self._deliver(some, self._call(producing.wait(self._keys, self._client, some), patience))
        except BaseException:
            self._leave(futures)
            raise
        return futures

    async def awatch(self, id: str) -> End:
        """Wait for one end; what is awaited at the same time on one loop is registered together."""
        futures, new = self._enlist([id])
        try:
            if new:
                loop = asyncio.get_running_loop()
                batcher = self._batchers.get(loop)
                if batcher is None:
                    batcher = self._batchers[loop] = Batcher(self._register, _BATCH)
                await batcher.add(id)
            return await asyncio.shield(asyncio.wrap_future(futures[id]))
        finally:
            self._leave(futures)

    async def _register(self, ids: Sequence[str]) -> Sequence[None]:
        self._deliver(ids, await self._acall(producing.wait(self._keys, self._client, ids)))
        return [None] * len(ids)

    def forget(self, ids: Iterable[str]) -> None:
        """Take back one wait for each of `ids`; what nobody waits for any more is dropped."""
        with self._lock:
            waits = {id: wait.future for id in ids if (wait := self._waits.get(id)) is not None}
        self._leave(waits)

    def _leave(self, futures: Mapping[str, Future[End]]) -> None:
        with self._lock:
            for id, future in futures.items():
                wait = self._waits.get(id)
                # Ours may have come to its end, and somebody may have begun to wait anew.
                if wait is not None and wait.future is future:
                    wait.waiters -= 1
                    if wait.waiters == 0:
                        del self._waits[id]
                        self._gave_up = True

    def close(self) -> None:
        """Let the thread end; those who still wait get a `BrokerError`."""
        with self._lock:
            self._closed = True
            waits = list(self._waits.values())
            self._waits.clear()
            self._waiters.notify_all()
            if self._connection is not None:
                self._connection.interrupt()  # the thread may block on it
        for wait in waits:
            wait.future.set_exception(BrokerError("the client was closed while this waited"))

    def _enlist(self, ids: Sequence[str]) -> tuple[dict[str, Future[End]], list[str]]:
        futures: dict[str, Future[End]] = {}
        new: list[str] = []
        with self._lock:
            for id in ids:
                wait = self._waits.get(id)
                if wait is None:
                    wait = self._waits[id] = _Wait()
                    new.append(id)
                wait.waiters += id not in futures
                futures[id] = wait.future
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="taskq-inbox", daemon=True)
                self._thread.start()
            self._waiters.notify_all()
        return futures, new

    def _deliver(self, ids: Sequence[str], ends: Sequence[producing.End]) -> None:
        for id, end in zip(ids, ends, strict=True):
            if isinstance(end, State):
                continue
            with self._lock:
                wait = self._waits.pop(id, None)
            if wait is None or wait.future.done():
                continue
            if isinstance(end, BadMessage):
                wait.future.set_exception(end)
            else:
                wait.future.set_result(end)

    def _run(self) -> None:
        tries = 0
        checked = time.monotonic()
        while self._wanted():
            try:
                connection = self._connection or self._connect()
                if time.monotonic() - checked > RECHECK_S:
                    self._look_up(list(self._waits))
                    checked = time.monotonic()
                    self._doubtful = True  # those whose end this found are told of it, too
                self._take(connection)
                tries = 0
            except Exception as error:
                if self._closed:
                    break  # `close` took the connection away
                if not isinstance(error, _TROUBLE):
                    raise
                log.debug("the inbox lost its connection: %s", error)
                self._hang_up()
                checked = -math.inf  # some may end while we are away
                time.sleep(pause_after(tries))
                tries += 1
        self._hang_up()

    def _wanted(self) -> bool:
        with self._lock:
            while not self._waits and not self._closed:
                self._doubtful = self._gave_up
                self._waiters.wait()
            return not self._closed

    def _connect(self) -> Connection:
        self._doubtful = self._gave_up
        connection = connect(self._url, RECHECK_S + 5)
        with self._lock:
            self._connection = connection
            if self._closed:
                connection.interrupt()
        return connection

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _take(self, connection: Connection) -> None:
        inbox = self._keys.inbox(self._client)
        reply = connection.call("BLMPOP", RECHECK_S, 1, inbox, "LEFT", "COUNT", _BATCH)
        told = [producing.told(word) for word in reply[1]] if reply is not None else []
        known = {id: end for id, end in told if end is not None and not self._doubtful}
        self._doubtful = self._doubtful and len(told) == _BATCH  # as many as it may: there may be older ones
        self._deliver(list(known), list(known.values()))
        self._look_up([id for id, _ in told if id not in known])

    def _look_up(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _BATCH):
            some = ids[start : start + _BATCH]
            self._deliver(some, self._call(producing.wait(self._keys, self._client, some)))
