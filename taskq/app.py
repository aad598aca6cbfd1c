"""The application: what programs declare tasks at, enqueue by, and hand to workers. Start reading here.

`@app.task` makes a `Task` (task.py) of a function. `task.enqueue(…)` packs the call (sending.py) and stores
it by a script of the broker (broker/commands/producing.py → broker/scripts/enqueue.lua); what it returns is
a `TaskHandle` (handle.py). Workers load the app by its `MODULE:ATTR` and run its tasks.
"""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from taskq.application import Application
from taskq.broker.command import Steps
from taskq.broker.commands import reading
from taskq.bulk import Call, Enqueued, send_many
from taskq.clock import Duration, to_ms
from taskq.codec import CallCodec
from taskq.config import AppConfig, check_max_age, check_signing, from_environment, server_url
from taskq.context import warn_in_loop
from taskq.durability import RELAXED, Durability, check_durability
from taskq.errors import ConfigurationError
from taskq.frame import FrameCodec
from taskq.given import positive_ms, read_option, read_optional
from taskq.group import TaskGroup
from taskq.handle import TaskHandle
from taskq.middleware import FailureLog, Hooks, Middleware
from taskq.names import check_name, check_task_name
from taskq.origin import module_name, qualified_name
from taskq.payloads import Payloads, check_offload, store_of
from taskq.redaction import PATTERNS, check_patterns
from taskq.sending import Sender
from taskq.signing import key_ring
from taskq.sizes import Size, to_bytes
from taskq.submission import Submitting
from taskq.task import Task

if TYPE_CHECKING:
    from taskq.broker.client import Broker
    from taskq.stores import PayloadStore
    from taskq.testing import AppTesting

log = logging.getLogger("taskq.broker")

P = ParamSpec("P")
R = TypeVar("R")

Lifespan = Callable[["TaskQ"], AbstractAsyncContextManager[Any] | AbstractContextManager[Any]]
"""Entered in each worker process before its first task, left after its last; what it yields is
`current_task().state`. A function under `@contextlib.asynccontextmanager` is one."""

_QUEUE_CACHE_S = 60.0


class TaskQ(Submitting):
    """One application.

    Args:
        name: the prefix of its tasks' names.
        redis_url: the server; TASKQ_REDIS_URL counts more, REDIS_URL less. It is reached at the first use.
        namespace: what applications share that are to see each other's queues and tasks.
        include: modules with tasks; a worker imports them when it starts.
        lifespan: what worker processes set up before their first task, and take down after the last.
        middleware: hooks around tasks and enqueues, in this order; the built-in ones come first.
        lease: how long a process may be silent before what it runs is given to another; 30 s. By its other
            name, `visibility_timeout`. What bounds a task is its `timeout`.
        result_ttl: how long results are kept where a task says nothing; 10 min.
        dedupe_ttl: how long the ids of ended tasks are remembered at least; 2 min.
        dead_ttl: how long failed tasks are kept; 14 days.
        patience: how long a command is repeated while the server is away, before it raises; 30 s.
        signing_keys: `{id: secret}`, or `"id:secret,id:secret"`: all messages and outcomes are signed with the
            first, and only what one of them has signed is read. `taskq keys new` makes one.
        accept_unsigned: with signing keys, read what is not signed, too: while signing is introduced.
        max_age: with signing keys, how long after it was sent, or is due, a message may start, retries included; what
            is older is quarantined. Ids of ended tasks are remembered as long. None: no bound.
        max_payload: how many bytes a message, or an outcome with its result, may take; 64 MB.
        compress_over: compress messages and outcomes above this size, where the task says nothing.
        redact: patterns of names, as `"*iban*"`: what has such a name is not shown, in place of the usual ones
            (`taskq.redaction.PATTERNS`); `()` for none.
        offload_over: take arguments and results above this size to the store, where the task says nothing.
        durability: what holds once `enqueue` returns, where task and call say nothing: `"relaxed"`, the server has
            it; `"fsync"`, its disk has it, too; `"replicated:N"`, N replicas have it, too.
        offload_to: the store, as `file:///var/lib/taskq/payloads`, which all programs and workers reach.
        max_length: `{queue: how many}`: while so many tasks are ready in a queue, no program adds to it. Workers say
            so to the server when they start. `taskq max-length` counts more.
        block_when_full: how long an enqueue of this program waits for room in a full queue, where the call says
            nothing; 0, it raises `QueueFull` at once.
    """

    def __init__(
        self,
        name: str,
        *,
        redis_url: str | None = None,
        namespace: str = "taskq",
        include: Sequence[str] = (),
        lifespan: Lifespan | None = None,
        middleware: Sequence[Middleware] = (),
        lease: Duration = "30s",
        visibility_timeout: Duration | None = None,
        result_ttl: Duration = "10m",
        dedupe_ttl: Duration = "2m",
        dead_ttl: Duration = "14d",
        patience: Duration = "30s",
        signing_keys: Mapping[str, str | bytes] | str | None = None,
        accept_unsigned: bool = False,
        max_age: Duration | None = None,
        max_payload: Size = "64MB",
        compress_over: Size | None = None,
        redact: Sequence[str] = PATTERNS,
        offload_over: Size | None = None,
        offload_to: str | None = None,
        max_length: Mapping[str, int | None] | None = None,
        durability: Durability = RELAXED,
        block_when_full: Duration = 0,
    ) -> None:
        super().__init__(queue="default")
        self.name = check_name("the app", name)
        self.config = from_environment(
            AppConfig(
                namespace=namespace,
                redis_url=redis_url,
                lease_ms=to_ms(lease if visibility_timeout is None else visibility_timeout),
                result_ttl_ms=to_ms(result_ttl),
                dedupe_ttl_ms=to_ms(dedupe_ttl),
                dead_ttl_ms=to_ms(dead_ttl),
                patience_ms=to_ms(patience),
                signing_keys=key_ring(signing_keys),
                accept_unsigned=accept_unsigned,
                max_age_ms=read_optional("max_age", max_age, positive_ms),
                max_payload=read_option("max_payload", max_payload, to_bytes),
                compress_over=read_optional("compress_over", compress_over, to_bytes),
                redact=read_option("redact", redact, check_patterns),
                offload_over=read_optional("offload_over", offload_over, to_bytes),
                offload_to=offload_to,
                max_length=max_length,
                durability=read_option("durability", durability, check_durability),
                block_when_full_ms=read_option("block_when_full", block_when_full, to_ms),
            )
        )
        check_max_age(self.config)
        if self.config.offload_over is not None:
            check_offload(self.config, f"app {name!r}")
        if isinstance(include, str):
            raise ConfigurationError(f"include={include!r}: give a list of module names")
        self.modules = tuple(include)
        self.lifespan = lifespan
        self.middleware: list[Middleware] = [FailureLog(), *middleware]
        """All of it, in the order it runs; the list may be changed in place."""
        self._hooks = Hooks(self.middleware)
        self._untyped = CallCodec(None, redaction=self.config.redaction)
        self._broker: Broker | None = None
        self._frames: FrameCodec | None = None
        self._payloads: Payloads | None = None
        self._frozen = False
        self._queues: dict[str, tuple[str, float]] = {}

    def __repr__(self) -> str:
        return f"<TaskQ {self.name}>"

    @property
    def broker(self) -> Broker:
        """The way to the server, made at the first use.

        Raises:
            BrokerNotConfigured: no server was named.
        """
        if self._broker is None:
            with self._lock:
                if self._broker is None:
                    from taskq.broker.client import Broker

                    url = server_url(self.config.redis_url)
                    self._broker = Broker(
                        url,
                        self.config.namespace,
                        shards=self.config.shards,
                        patience=self.config.patience_ms / 1_000,
                    )
                    if self.config.redis_url not in (None, url):
                        log.info("TASKQ_REDIS_URL counts, not redis_url=: %r uses %r", self, self._broker)
        return self._broker

    def use(self, broker: Broker | None, store: PayloadStore | None = None) -> Broker | None:
        """Send through `broker` from now on, None: one of the app's own; gives the one before.

        A worker does it, so that its tasks enqueue where it claims. `store` takes large payloads, by default the one
        of the configuration.
        """
        before, self._broker = self._broker, broker
        self._frames = None
        self._payloads = None if store is None else Payloads.of(self.config, store)
        self._queues.clear()
        return before

    @property
    def frames(self) -> FrameCodec:
        """What signs, verifies and bounds what travels."""
        if self._frames is None:
            namespace = self.broker.namespace
            self._frames = FrameCodec.of(self.config, namespace.name, namespace.shards, namespace.now_ms)
        return self._frames

    @property
    def payloads(self) -> Payloads:
        """What takes large payloads to the store, and brings them back."""
        if self._payloads is None:
            self._payloads = Payloads.of(self.config, store_of(self.config, self.broker.namespace.name))
        return self._payloads

    @property
    def hooks(self) -> Hooks:
        """What of `middleware` runs where."""
        if self._hooks.source != self.middleware:
            self._hooks = Hooks(self.middleware)
        return self._hooks

    def include(self, group: TaskGroup) -> None:
        """Take over the tasks of a group, and those that are declared there later.

        Raises:
            DuplicateTask: a task of the app has the name of one of the group's.
            ConfigurationError: another app has the group.
        """
        group.join(self, self._take_over)

    def _take_over(self, task: Task[..., Any]) -> None:
        self._add(task)
        task.app = self

    def _add(self, task: Task[..., Any]) -> None:
        if task.codec.pickles:
            check_signing(self.config, f"cloudpickle for {task.name}")
        task.codec.redaction = self.config.redaction
        if task.options.offload_over is not None:
            check_offload(self.config, task.name)
        super()._add(task)

    def freeze(self) -> None:
        """Import the modules of `include`, once, so that all tasks are known. Workers do it at their start.

        Raises:
            ConfigurationError: there is no such module.
        """
        with self._lock:
            if self._frozen:
                return
            for module in self.modules:
                try:
                    importlib.import_module(module)
                except ModuleNotFoundError as error:
                    if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                        raise
                    raise ConfigurationError(
                        f"{self!r} includes {module!r}, and there is no such module"
                    ) from error
            if self.modules:
                self._callers()
            if self.config.signing_keys is not None:
                self._runners()
            self._frozen = True

    def enqueue(self, name: str, /, *args: Any, queue: str | None = None, **kwargs: Any) -> TaskHandle[Any]:
        """Store a call of a task by its name, whose code need not be here. Raises what `task.enqueue` raises.

        It waits in `queue`, else where its task is declared here, else where workers have registered it
        (looked up once a minute), else in `default`.
        """
        warn_in_loop("enqueue", "aenqueue")
        return self.named(name, queue).enqueue(*args, **kwargs)

    async def aenqueue(
        self, name: str, /, *args: Any, queue: str | None = None, **kwargs: Any
    ) -> TaskHandle[Any]:
        """As `enqueue`, on the running loop."""
        return await self.named(name, queue).aenqueue(*args, **kwargs)

    def named(self, name: str, queue: str | None = None) -> Sender[..., Any]:
        """Give what sends calls by a task's name: `app.named("mail.send").using(delay="1m").enqueue(…)`."""
        task = self.tasks.get(name)
        if task is not None:
            return task if queue is None else task.using(queue=queue)
        where = None if queue is None else check_name("the queue", queue)
        return Sender(self, check_task_name(name), self._untyped, where, 5)

    def enqueue_many(self, calls: Iterable[Call[R]]) -> list[Enqueued[R]]:
        """Store calls of any tasks, made by `task.call(…)`; see `Sender.enqueue_many`."""
        warn_in_loop("enqueue_many", "aenqueue_many")
        return self.broker.run(send_many(self, calls))

    async def aenqueue_many(self, calls: Iterable[Call[R]]) -> list[Enqueued[R]]:
        """As `enqueue_many`, on the running loop."""
        return await self.broker.arun(send_many(self, calls))

    def handle(self, id: str) -> TaskHandle[Any]:
        """Give a handle to a task by its id. Its result is as it travelled; `task.handle` knows its type."""
        return TaskHandle(self, id, self._untyped)

    def queue_of(self, task: str) -> Steps[str]:
        """Find the queue that workers have registered for a task; `default` if they have not."""
        queue, until = self._queues.get(task, ("", 0.0))
        if time.monotonic() >= until:
            registered = yield reading.registered_queue(self.broker.keys[0], task)
            queue = registered or "default"
            self._queues[task] = (queue, time.monotonic() + _QUEUE_CACHE_S)
        return queue

    def testing(self, mode: Literal["inline", "queued"] = "queued") -> AppTesting:
        """Give what runs the app's tasks in a test, without a server: `with app.testing(…) as t`.

        Args:
            mode: `inline`: `enqueue` runs the task before it returns. `queued`: tasks wait until `t.run()`.
        """
        from taskq.testing import AppTesting

        return AppTesting(self, mode)

    def close(self) -> None:
        """Close the connections; they are opened again when they are needed."""
        if self._broker is not None:
            self._broker.close()

    async def aclose(self) -> None:
        """As `close`, with those of the running loop."""
        if self._broker is not None:
            await self._broker.aclose()

    def _home(self) -> Application:
        return self

    def _default_name(self, function: Callable[..., Any]) -> str:
        return f"{self.name}.{module_name(function)}.{qualified_name(function)}"
