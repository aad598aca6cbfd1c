"""The client of one server and one namespace, as everything above this layer sees it.

It holds the executor, the keys and the error table, and has no method per command: a command is a value from
`taskq.broker.commands`, and `call` or `acall` sends it.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn, TypeVar
from weakref import WeakKeyDictionary

from taskq.broker.batcher import Batcher
from taskq.broker.command import Command, Delay, Steps, Work, run_steps
from taskq.broker.commands.producing import BATCH, GATHERED, Envelope, Stored
from taskq.broker.connect import ServerURL, parse_url, resolve
from taskq.broker.durable import Safely
from taskq.broker.executor import AsyncExecutor, Executor
from taskq.broker.inbox import Inbox
from taskq.broker.keys import Keys
from taskq.broker.namespace import Namespace
from taskq.broker.storing import VALIDITY_MS, store, unknown_enqueue
from taskq.durability import Needs
from taskq.errors import BrokerRefused, BrokerUnavailable, ConfigurationError, TaskqError

T = TypeVar("T")
Loop = asyncio.AbstractEventLoop


class Broker:
    """A client of one namespace. Cheap to make, connects at first use, safe for threads and any number of loops.

    `patience` is how many seconds a command is repeated while the server is away or busy, `timeout` how many one
    answer may take.
    """

    def __init__(
        self,
        url: str,
        namespace: str = "taskq",
        *,
        shards: int = 1,
        patience: float = 30.0,
        timeout: float = 5.0,
    ) -> None:
        self._given = parse_url(url)
        self._url: ServerURL | None = None
        self.namespace = Namespace(namespace, shards)
        self._patience, self._timeout = patience, timeout
        self._executor: Executor | None = None
        self._lock = threading.Lock()
        self._loops: WeakKeyDictionary[Loop, AsyncExecutor] = WeakKeyDictionary()
        self._stores: WeakKeyDictionary[Loop, dict[Needs | None, Batcher[Envelope, Stored]]] = (
            WeakKeyDictionary()
        )
        self._safely: dict[Needs, Safely] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._pid = os.getpid()

    def __repr__(self) -> str:
        return f"Broker({self._given.masked!r}, {self.namespace.name!r})"

    @property
    def url(self) -> ServerURL:
        """Where the server is; the first look may start an embedded one."""
        if self._url is None:
            self._url = resolve(self._given.url, self.namespace.name)
        return self._url

    @property
    def keys(self) -> tuple[Keys, ...]:
        """The keys, by shard."""
        return self.namespace.keys

    def keys_of(self, id: str) -> Keys:
        """The keys of the shard that `id` lives on."""
        return self.namespace.keys_of(id)

    def now_ms(self) -> int:
        """Redis time by our own estimate; 0 before the first contact."""
        return self.namespace.now_ms()

    def call(self, command: Command[T], patience: float | None = None) -> T:
        """Send a command and give its decoded reply. `patience`, in seconds, counts in place of the client's.

        Raises:
            BrokerError: the server or the way to it failed for longer than `patience`, or refuses.
        """
        if self._executor is None:
            with self._lock:
                self._executor = self._executor or Executor(self.url, self.namespace, self._timeout)
        return self._executor.call(command, self._patience if patience is None else patience)

    async def acall(self, command: Command[T]) -> T:
        """As `call`, on the running loop."""
        loop = asyncio.get_running_loop()
        executor = self._loops.get(loop)
        if executor is None:
            executor = self._loops[loop] = AsyncExecutor(self.url, self.namespace, self._timeout)
        return await executor.call(command, self._patience)

    def run(self, steps: Steps[T], patience: float | None = None) -> T:
        """Send what `steps` yields, each reply going back in; give what it returns. `patience` is as for `call`."""
        return run_steps(steps, self.call if patience is None else partial(self.call, patience=patience))

    async def arun(self, steps: Steps[T]) -> T:
        """As `run`, on the running loop."""
        reply: Any = None
        send = steps.send
        try:
            while True:
                command = send(reply)
                try:
                    if isinstance(command, Delay):
                        await asyncio.sleep(command.seconds)
                        reply, send = None, steps.send
                    elif isinstance(command, Work):
                        reply, send = await asyncio.to_thread(command.do), steps.send
                    else:
                        reply, send = await self.acall(command), steps.send
                except Exception as error:  # noqa: BLE001 - it is raised where the command was yielded
                    reply, send = error, steps.throw
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def safely(self, needs: Needs | None) -> Safely | None:
        """Give what sends commands so that `needs` holds after them; None where there is nothing to wait for."""
        if needs is None or self._given.scheme == "memory":  # which keeps nothing whatever is asked of it
            return None
        found = self._safely.get(needs)
        if found is None:
            wait_s = min(self._timeout / 2, self._patience)
            found = self._safely.setdefault(
                needs,
                Safely(
                    needs, max(1, int(wait_s * 1_000)), self.run, may_set=self._given.scheme == "embedded"
                ),
            )
        return found

    def store(self, envelopes: Sequence[Envelope], needs: Needs | None = None) -> Steps[list[Stored]]:
        """Store messages, each once; gives what was done with each, once `needs` holds.

        Raises:
            EnqueueUnknown: no answer came; they may be stored or not. `.retry()` sends the very same again. It is
                a DurabilityUnknown if there are `needs`.
            BackpressureError: the server takes no writes; nothing was stored. Where that begins when some are stored,
                the answers of the others have the error.
            ConfigurationError: the server cannot confirm what is needed; as above.
        """
        return self._store(envelopes, needs, None)

    def _store(
        self, envelopes: Sequence[Envelope], needs: Needs | None, not_after_ms: int | None
    ) -> Steps[list[Stored]]:
        began = time.monotonic()
        try:
            return (yield from store(self.namespace, envelopes, not_after_ms, self.safely(needs)))
        except (BrokerUnavailable, BrokerRefused, ConfigurationError) as error:
            if not_after_ms is None and not isinstance(error, BrokerUnavailable):
                raise  # what refuses a repeat, and only that, says nothing of the first try
            self._unknown(envelopes, needs, began, not_after_ms, error)

    def _unknown(
        self,
        envelopes: Sequence[Envelope],
        needs: Needs | None,
        began: float,
        not_after_ms: int | None,
        error: TaskqError,
    ) -> NoReturn:
        """Raise EnqueueUnknown of what was first sent at `began`, of our monotonic clock, or later."""
        began_ms = self.namespace.at_ms(began)  # 0: who never heard the clock has not sent them yet
        until = not_after_ms or (began_ms + VALIDITY_MS if began_ms else None)

        def retry() -> list[Stored]:
            return self.run(self._store(envelopes, needs, until))

        first = envelopes[0].id
        more = f" and {len(envelopes) - 1} more" if len(envelopes) > 1 else ""
        raise unknown_enqueue(f"task {first}{more}", first, needs, error, retry) from error

    async def astore(self, envelope: Envelope, needs: Needs | None = None) -> Stored:
        """Store one message; what is stored at the same time on this loop, with these needs, travels in one command."""
        loop = asyncio.get_running_loop()
        batchers = self._stores.get(loop)
        if batchers is None:
            batchers = self._stores[loop] = {}
        batcher = batchers.get(needs)
        if batcher is None:
            send = partial(self._astore_many, needs=needs)
            batcher = batchers[needs] = Batcher(send, BATCH if needs is None else GATHERED)
        began = time.monotonic()
        try:
            return await batcher.add(envelope)
        except BrokerUnavailable as error:
            self._unknown([envelope], needs, began, None, error)

    async def _astore_many(self, envelopes: Sequence[Envelope], needs: Needs | None) -> Sequence[Stored]:
        return await self.arun(store(self.namespace, envelopes, None, self.safely(needs)))

    def inbox_of(self, id: str) -> Inbox:
        """The inbox that hears of the end of `id`."""
        keys = self.keys_of(id)
        with self._lock:
            if self._pid != os.getpid():
                # A fork has neither the threads of its parent's inboxes nor a share in what they are told.
                self._pid, self._inboxes = os.getpid(), {}
            inbox = self._inboxes.get(keys.shard)
            if inbox is None:
                inbox = self._inboxes[keys.shard] = self._make_inbox(keys)
            return inbox

    def _make_inbox(self, keys: Keys) -> Inbox:
        return Inbox(self.url, keys, self.call, self.acall)

    def close(self) -> None:
        """Close what this client has opened but the connections of event loops, which `aclose` closes."""
        with self._lock:
            executor, self._executor = self._executor, None
            inboxes, self._inboxes = list(self._inboxes.values()), {}
        for inbox in inboxes:
            inbox.close()
        if executor is not None:
            executor.close()

    async def aclose(self) -> None:
        """Close what this client has opened on the running loop, and what `close` closes."""
        executor = self._loops.pop(asyncio.get_running_loop(), None)
        if executor is not None:
            await executor.close()
        self.close()
