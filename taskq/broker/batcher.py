"""Group commit: what concurrent callers of one event loop ask for travels together.

No timer and no tuning: while one batch is on its way the next one gathers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")


class Batcher(Generic[A, R]):
    """Collects items on one event loop and hands them to `send`, at most `limit` at once, one batch at a time."""

    def __init__(self, send: Callable[[Sequence[A]], Awaitable[Sequence[R]]], limit: int) -> None:
        self._send = send
        self._limit = limit
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._sender: asyncio.Task[None] | None = None

    async def add(self, item: A) -> R:
        """Give what `send` gave for `item`, or raise what it raised. Cancelling gives up the wait, not the item."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, answer))
        if self._sender is None:
            self._sender = loop.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
                try:
                    answers = await self._send([item for item, _ in batch])
                except BaseException as error:
                    for _, answer in batch:
                        if not answer.done():
                            answer.set_exception(error)
                    if not isinstance(error, Exception):
                        raise
                else:
                    for (_, answer), value in zip(batch, answers, strict=True):
                        if not answer.done():
                            answer.set_result(value)
        finally:
            self._sender = None
