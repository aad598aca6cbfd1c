"""From a call to a stored message: `task.enqueue` leads here, and on to `broker/commands/producing.py`."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, ParamSpec, TypeVar

import msgspec

from taskq.application import Application
from taskq.blocking import Patience
from taskq.broker.commands.producing import Envelope
from taskq.bulk import Call, Enqueued, Parcel, send_many, unknown
from taskq.clock import Duration
from taskq.codec import CallCodec
from taskq.config import check_signing
from taskq.context import warn_in_loop
from taskq.durability import Durability, Needs, needs_of
from taskq.errors import EnqueueUnknown
from taskq.given import NOTHING, Codec, Given, give
from taskq.handle import TaskHandle
from taskq.message import Message, seal_message, set_aside
from taskq.middleware import run as run_hooks
from taskq.names import new_task_id, shard_of

P = ParamSpec("P")
R = TypeVar("R")


class Sender(Generic[P, R]):
    """What sends calls of one task: its name, how its arguments travel, and what `using()` was given."""

    def __init__(
        self,
        app: Application,
        name: str,
        codec: CallCodec,
        queue: str | None,
        priority: int,
        given: Given = NOTHING,
    ) -> None:
        self.app = app
        self.name = name
        self.codec = codec
        self.queue = given.queue or queue
        """None: the queue that workers have registered for the task."""
        self.priority = priority if given.priority is None else given.priority
        self.given = given
        self._wire = given.wire(name)

    @property
    def needs(self) -> Needs | None:
        """What is to hold before a call is taken for stored; None for what the server's answer says."""
        return needs_of(self.given.durability or self.app.config.durability)

    @property
    def block_s(self) -> float:
        """How many seconds a call waits for room in a full queue."""
        block_ms = self.app.config.block_when_full_ms if self.given.block_ms is None else self.given.block_ms
        return block_ms / 1_000

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Store a call; once this returns, the task runs at least once.

        Raises:
            ArgumentMismatch: the arguments do not fit the function. Nothing was sent.
            NotEncodable: an argument cannot travel; the message names the path to it. Nothing was sent.
            PayloadTooLarge: it takes more bytes than `max_payload`. Nothing was sent. It is a NotEncodable.
            PayloadUnavailable: the store that the arguments were to go to is out of reach. Nothing was sent.
            EnqueueUnknown: no answer came; it may be stored or not. `.retry()` of the error settles it.
            DurabilityUnknown: it is not known to be as safe as its durability asks. It is an EnqueueUnknown.
            ConfigurationError: the server cannot give the durability. Nothing was stored.
            QueueFull: as many tasks are ready in the queue as its `max_length` allows, and no room was made within
                `block_when_full`; nothing was stored. It is a BackpressureError.
            BackpressureError: the server is full; nothing was stored.
            BrokerNotConfigured: no server was named.
        """
        warn_in_loop("enqueue", "aenqueue")
        broker = self.app.broker
        queue = self.queue or broker.run(self.app.queue_of(self.name))
        parcel = self.pack(args, kwargs, queue)
        if parcel.aside is not None:
            self.app.payloads.put(parcel.aside)
        try:
            [stored] = broker.run(broker.store([parcel.envelope], self.needs))
            if stored.full is not None:
                patience, block_s = Patience(), self.block_s
                while stored.full is not None and patience.lasts(block_s):
                    time.sleep(patience.pause(block_s))
                    [stored] = broker.run(broker.store([parcel.envelope], self.needs))
        except EnqueueUnknown as error:
            raise unknown(parcel, 0, self.needs, error) from error.__cause__
        return parcel.confirm(stored)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """As `enqueue`, on the running loop; concurrent calls travel together. `.retry()` is awaited."""
        broker = self.app.broker
        queue = self.queue
        if queue is None:
            queue = await broker.arun(self.app.queue_of(self.name))
        parcel = self.pack(args, kwargs, queue)
        if parcel.aside is not None:
            import asyncio

            await asyncio.to_thread(self.app.payloads.put, parcel.aside)
        try:
            stored = await broker.astore(parcel.envelope, self.needs)
            if stored.full is not None:
                import asyncio

                patience, block_s = Patience(), self.block_s
                while stored.full is not None and patience.lasts(block_s):
                    await asyncio.sleep(patience.pause(block_s))
                    stored = await broker.astore(parcel.envelope, self.needs)
        except EnqueueUnknown as error:
            raise _awaited(unknown(parcel, 0, self.needs, error)) from error.__cause__
        return parcel.confirm(stored)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]:
        """Make a call for `enqueue_many`."""
        return Call(self, args, kwargs)

    def enqueue_many(self, calls: Iterable[Call[R] | tuple[Any, ...]]) -> list[Enqueued[R]]:
        """Store many calls in batches of 256; gives what became of each, in their order.

        A call is a tuple of positional arguments, or made by `call(…)`. An error of one call is its outcome
        and stops no other; once the server is out of reach or full, the rest is not sent and says so.
        """
        warn_in_loop("enqueue_many", "aenqueue_many")
        return self.app.broker.run(send_many(self.app, [self._as_call(call) for call in calls]))

    async def aenqueue_many(self, calls: Iterable[Call[R] | tuple[Any, ...]]) -> list[Enqueued[R]]:
        """As `enqueue_many`, on the running loop."""
        return await self.app.broker.arun(send_many(self.app, [self._as_call(call) for call in calls]))

    def _as_call(self, call: Call[R] | tuple[Any, ...]) -> Call[R]:
        if isinstance(call, Call):
            return call
        if not isinstance(call, tuple):  # a caller without types
            raise TypeError(
                f"a {type(call).__name__} is no call: give tuples of arguments, as [(1,), (2,)], or {self.name}.call(…)"
            )
        return Call(self, call, {})

    def using(
        self,
        *,
        id: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        front: bool = False,
        delay: Duration | None = None,
        eta: datetime | None = None,
        expires: Duration | datetime | None = None,
        key: str | None = None,
        key_ttl: Duration | None = None,
        max_retries: int | None = None,
        timeout: Duration | msgspec.UnsetType | None = msgspec.UNSET,
        result_ttl: Duration | None = None,
        headers: Mapping[str, str] | None = None,
        tags: Sequence[str] | None = None,
        codec: Codec | None = None,
        durability: Durability | None = None,
        block_when_full: Duration | None = None,
    ) -> Sender[P, R]:
        """Give a sender with options of its own: `task.using(delay="1m").enqueue(…)`.

        Args:
            id: the task's id; enqueueing it again while it lives, and a while after, stores nothing.
            queue: where it waits, in place of the declared queue.
            priority: 0 to 9 within its queue, 9 first.
            front: to the head of its priority, not the tail.
            delay: not before this long from now, by the server's clock.
            eta: not before this instant; it must have a time zone.
            expires: if it has not started after this long, or by this instant, it never does.
            key: while a task of this key lives, enqueueing another stores nothing and gives a handle to it.
            key_ttl: the key is kept this long from now, not for the task's life.
            max_retries: in place of what the task declares; so are `timeout` and `result_ttl`.
            timeout: how long one run may take; None is no limit.
            result_ttl: how long the result is kept; 0 keeps none.
            headers: texts that travel along, for middleware and `current_task().headers`.
            tags: words to find the task by.
            durability: `"relaxed"`, `"fsync"` or `"replicated:N"`: what holds once `enqueue` returns.
            codec: `"cloudpickle"` sends what msgpack cannot: functions, classes of `__main__`, anything picklable.
            block_when_full: how long to wait for room if the queue is full, before QueueFull; 0 is not at all.

        Raises:
            SigningRequired: cloudpickle without signing keys.
            ValueError: a value cannot be meant, as a datetime without a zone, or two contradict each other.
        """
        given = give(
            self.given,
            id=id,
            queue=queue,
            priority=priority,
            front=front,
            delay=delay,
            eta=eta,
            expires=expires,
            key=key,
            key_ttl=key_ttl,
            max_retries=max_retries,
            timeout=timeout,
            result_ttl=result_ttl,
            headers=headers,
            tags=tags,
            codec=codec,
            durability=durability,
            block_when_full=block_when_full,
        )
        own = self.codec
        if given.codec is not None:
            own = own.pickling(given.codec == "cloudpickle")
            if own.pickles:
                check_signing(self.app.config, f"cloudpickle for {self.name}")
        return Sender(self.app, self.name, own, self.queue, self.priority, given)

    def handle(self, id: str) -> TaskHandle[R]:
        """Give a handle to a task of this kind by its id, from anywhere."""
        return TaskHandle(self.app, id, self.codec)

    def pack(self, args: tuple[Any, ...], kwargs: dict[str, Any], queue: str) -> Parcel[R]:
        """Make the message of one call. Raises what `enqueue` raises of its arguments."""
        app, given = self.app, self.given
        args_data, kwargs_data = self.codec.encode_call(args, kwargs)
        now_ms = app.broker.now_ms() or time.time_ns() // 1_000_000
        message = Message(
            self.name,
            queue,
            self.priority,
            args_data,
            kwargs_data,
            now_ms,
            given.max_retries,
            given.timeout_ms,
            given.result_ttl_ms,
            given.headers,
            given.tags,
            self.codec.secrets,
            due_ms=given.due_ms(now_ms),
        )
        task_id = given.id or new_task_id(self._shard(app.config.shards))
        if hooks := app.hooks.before_enqueue:
            run_hooks(hooks, task_id, message)
        sent, aside = message, None
        over = app.config.offload_over if given.offload_over is None else given.offload_over
        if over is not None and len(args_data) + len(kwargs_data) > over:
            sent, aside = set_aside(message, task_id, app.payloads, given.compress_over)
        data = seal_message(sent, task_id, app.frames, given.compress_over)
        envelope = Envelope(task_id, f"{queue}:{self.priority}", data, self._wire)
        return Parcel(self, envelope, message, aside)

    def _shard(self, shards: int) -> int:
        if shards == 1:
            return 0
        key = self.given.key
        return random.randrange(shards) if key is None else shard_of(f"{self.name}:{key}", shards)


def _awaited(error: EnqueueUnknown) -> EnqueueUnknown:
    """Have `.retry()` be awaited, also that of the error that it may raise."""
    again = error.retry

    async def retry() -> Any:
        import asyncio

        try:
            return await asyncio.to_thread(again)
        except EnqueueUnknown as still:
            raise _awaited(still) from still.__cause__

    error.retry = retry
    return error
