"""Two ways to hold a conversation with the server: blocking, and on an event loop. Nothing else is twice."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypeVar

from taskq.broker.command import Command
from taskq.broker.connect import ServerURL, async_client
from taskq.broker.connection import Connection, pack
from taskq.broker.conversation import Pause, Turn, conversation
from taskq.broker.durable import Exchange, Words
from taskq.broker.faults import DRIVER_ERRORS, Refusal, breaks_connection
from taskq.broker.namespace import Namespace
from taskq.broker.pool import Pool

T = TypeVar("T")


class Executor:
    """A pool of blocking connections, and one of those that wait for disk or replicas. Safe for threads."""

    def __init__(self, url: ServerURL, namespace: Namespace, timeout: float) -> None:
        self._where, self._namespace = url.masked, namespace
        self._pool, self._slow_pool = Pool(url, timeout), Pool(url, timeout)

    def call(self, command: Command[T], patience: float) -> T:
        """Send a command, give its decoded reply; see `conversation`."""
        talk = conversation(command, self._namespace, self._where, patience)
        turn = next(talk)
        try:
            while True:
                try:
                    reply = self._do(turn)
                except DRIVER_ERRORS as error:
                    turn = talk.throw(error)
                else:
                    turn = talk.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def _do(self, turn: Turn) -> Any:
        if isinstance(turn, tuple):
            return self._pool.do(Connection.call, *turn)
        if isinstance(turn, Exchange):
            return self._slow_pool.do(_exchange, turn)
        time.sleep(turn.seconds)
        return None

    def close(self) -> None:
        """Close the pools' connections."""
        self._pool.close()
        self._slow_pool.close()


class AsyncExecutor:
    """The two pools of connections for the event loop that first used them."""

    def __init__(self, url: ServerURL, namespace: Namespace, timeout: float) -> None:
        self._where, self._namespace = url.masked, namespace
        self._pool: Any = async_client(url, timeout=timeout).connection_pool
        self._slow_pool: Any = async_client(url, timeout=timeout).connection_pool

    async def call(self, command: Command[T], patience: float) -> T:
        """Send a command, give its decoded reply; see `conversation`."""
        talk = conversation(command, self._namespace, self._where, patience)
        turn = next(talk)
        try:
            while True:
                try:
                    reply = await self._do(turn)
                except DRIVER_ERRORS as error:
                    turn = talk.throw(error)
                else:
                    turn = talk.send(reply)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def _do(self, turn: Turn) -> Any:
        if isinstance(turn, Pause):
            await asyncio.sleep(turn.seconds)
            return None
        # Below the client's methods, whose reply shapes change with versions and flags: RESP2 as it came.
        pool = self._slow_pool if isinstance(turn, Exchange) else self._pool
        connection = await pool.get_connection()
        try:
            if isinstance(turn, Exchange):
                return await _aexchange(connection, turn)
            return await _acall(connection, turn)
        except BaseException as error:
            if breaks_connection(error):  # a reply may still be on its way, and would answer the next command
                await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)

    async def close(self) -> None:
        """Close the pools' connections."""
        await self._pool.disconnect()
        await self._slow_pool.disconnect()


def _exchange(connection: Connection, exchange: Exchange) -> list[Any]:
    replies = [connection.call(*words) for words in exchange.commands]
    connection.send(*[wait.words for wait in exchange.waits])
    exchange.check([connection.read_or_error() for _ in exchange.waits])
    return replies


async def _acall(connection: Any, words: Words) -> Any:
    if pack is None:
        await connection.send_command(*words)
    else:  # on a loop the driver's own packer is not hiredis's, and batches have a thousand words
        await connection.send_packed_command(pack(words))
    return await connection.read_response()


async def _aexchange(connection: Any, exchange: Exchange) -> list[Any]:
    replies = [await _acall(connection, words) for words in exchange.commands]
    await connection.send_packed_command(connection.pack_commands([wait.words for wait in exchange.waits]))
    answers: list[Any] = []
    for _ in exchange.waits:
        try:
            answers.append(await connection.read_response())
        except Refusal as error:
            answers.append(error)
    exchange.check(answers)
    return replies
