"""A worker that is played: it sends the commands of a worker, and runs `add` in the test."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from taskq import TaskQ
from taskq.broker.commands import reading, working
from taskq.broker.commands.working import Claimed, Kind
from taskq.message import decode_message
from taskq.names import new_process_id
from taskq.record import Outcome, encode_outcome
from tests.servers import RedisServer

QUEUES = ["default", "sums", "other"]


def add(a: int, b: int = 0) -> int:
    return a + b


class Player:
    """Plays a worker process, one command at a time."""

    def __init__(self, app: TaskQ, server: RedisServer) -> None:
        self.app = app
        self.server = server
        self.process = new_process_id()
        self.seq = 0
        [self.keys] = app.broker.keys
        app.broker.call(working.hello(self.keys, self.process, 60_000, b"", QUEUES))

    def claim(self, limit: int = 256) -> list[Claimed]:
        self.seq += 1
        words = working.claim_words(self.keys, QUEUES)
        batch = self.app.broker.call(working.claim(self.keys, self.process, self.seq, limit, words))
        return batch.tasks

    def settle(self, tasks: Sequence[Claimed], kind: Kind, keep_ms: int = 60_000, **outcome: Any) -> None:
        ended = encode_outcome(Outcome(started_ms=1, process=self.process, **outcome))
        outcomes = [(task.id, task.g, kind.value, keep_ms, "add", 1, ended) for task in tasks]
        answers = self.app.broker.call(working.settle(self.keys, self.process, outcomes))
        assert {answer.name for answer in answers} <= {"COMMITTED"}

    def run(self, tasks: Sequence[Claimed]) -> None:
        """Run tasks, all of them `add`, and store what they return."""
        codec = self.app.tasks["add"].codec
        for task in tasks:
            message = decode_message(task.message)
            args, kwargs = codec.decode_call(message.args, message.kwargs)
            self.settle([task], Kind.SUCCEEDED, result=codec.encode_result(add(*args, **kwargs)))

    def run_all(self) -> int:
        """Run tasks until there are no more; gives how many there were."""
        done = 0
        while tasks := self.claim():
            self.run(tasks)
            done += len(tasks)
        return done

    def leave(self) -> None:
        self.app.broker.call(working.reap(self.keys, self.process, None))
        with self.server.client() as client:
            client.delete(*map(self.keys.wake, QUEUES))  # the tokens that a worker blocks on


def run(app: TaskQ, main: Any) -> Any:
    """Run a coroutine on a loop of its own, and close what it opened there."""

    async def closing() -> Any:
        try:
            return await main
        finally:
            await app.aclose()

    return asyncio.run(closing())


def ran(app: TaskQ) -> dict[str, int]:
    """Give how often the server has run each command."""
    told = app.broker.call(reading.read(app.broker.keys[0], "INFO", "commandstats")).decode()
    lines = [
        line.removeprefix("cmdstat_").split(":") for line in told.splitlines() if line.startswith("cmdstat_")
    ]
    return {name: int(stats.split(",")[0].removeprefix("calls=")) for name, stats in lines}
