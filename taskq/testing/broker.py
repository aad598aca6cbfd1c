"""The broker of a test: it stores in memory, notes what was stored, and may have it run at once."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from msgspec.structs import replace

from taskq.broker.client import Broker
from taskq.broker.command import Command, Steps, same
from taskq.broker.commands.producing import Envelope, Stored
from taskq.broker.inbox import End, Inbox
from taskq.broker.keys import Keys
from taskq.config import AppConfig
from taskq.durability import Needs
from taskq.errors import ResultTimeout

T = TypeVar("T")

_RUN: Command[None] = Command("run what was stored", "", (), same)
"""Stands among the commands where tasks are to run, so that both ways of sending meet it."""


class TestingBroker(Broker):
    """Stores calls one by one. `inline`: without their delays, and each is run before the next is stored."""

    __test__ = False

    def __init__(
        self,
        url: str,
        config: AppConfig,
        inline: bool,
        run_ready: Callable[[], Any],
        arun_ready: Callable[[], Coroutine[Any, Any, Any]],
        hear_cancels: Callable[[], None],
        waits_in_vain: Callable[[], bool],
    ) -> None:
        super().__init__(url, config.namespace, shards=config.shards)
        self.inline = inline
        self.sent: list[Envelope] = []
        """What was stored, in that order."""
        self.queues: dict[str, None] = {}
        """Where it waits."""
        self._run_ready, self._arun_ready, self._hear_cancels = run_ready, arun_ready, hear_cancels
        self._waits_in_vain = waits_in_vain

    def store(self, envelopes: Sequence[Envelope], needs: Needs | None = None) -> Steps[list[Stored]]:
        """As `Broker.store`; memory has nothing to wait for."""
        answers: list[Stored] = []
        for envelope in envelopes:
            packed = self._undelayed(envelope) if self.inline else envelope
            (stored,) = yield from super().store([packed], needs)
            answers.append(stored)
            if stored.created:
                self.sent.append(envelope)
                self.queues.setdefault(envelope.list.partition(":")[0])
                if self.inline:
                    yield _RUN
        return answers

    async def astore(self, envelope: Envelope, needs: Needs | None = None) -> Stored:
        """As `Broker.astore`."""
        (stored,) = await self.arun(self.store([envelope], needs))
        return stored

    def call(self, command: Command[T], patience: float | None = None) -> T:
        """As `Broker.call`; runs tasks where `store` says so, and lets what runs hear of a cancel at once."""
        if command is _RUN:
            return self._run_ready()  # type: ignore[no-any-return]
        reply = super().call(command, patience)
        if command.name == "cancel":
            self._hear_cancels()
        return reply

    async def acall(self, command: Command[T]) -> T:
        """As `call`, on the running loop."""
        if command is _RUN:
            return await self._arun_ready()  # type: ignore[no-any-return]
        reply = await super().acall(command)
        if command.name == "cancel":
            self._hear_cancels()
        return reply

    def _make_inbox(self, keys: Keys) -> Inbox:
        inbox = _TestingInbox(self.url, keys, self.call, self.acall)
        inbox.waits_in_vain = self._waits_in_vain
        return inbox

    @staticmethod
    def _undelayed(envelope: Envelope) -> Envelope:
        _, bar, rest = envelope.options.partition("|")
        return replace(envelope, options=bar + rest)


class _TestingInbox(Inbox):
    """Does not let a test wait for ever for what nothing runs meanwhile."""

    waits_in_vain: Callable[[], bool]

    def watch(self, ids: Sequence[str], patience: float | None = None) -> dict[str, Future[End]]:
        __tracebackhide__ = True
        futures = super().watch(ids, patience)
        waiting = [id for id, future in futures.items() if not future.done()]
        if patience is None and waiting and self.waits_in_vain():
            self.forget(ids)
            raise ResultTimeout(
                f"task {waiting[0]} has not ended, and nothing runs it while the test waits: run() it first, or "
                "advance() to where it is due; with a timeout, this waits for other threads"
            )
        return futures
