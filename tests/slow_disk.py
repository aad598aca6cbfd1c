"""A disk that confirms nothing for a while, and what calls are seen to do meanwhile."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from taskq import TaskQ
from taskq.handle import TaskHandle
from tests.player import add
from tests.servers import RedisServer

HELD_UP_S = 0.3
"""How long is looked on while a call must not return: an enqueue takes a millisecond."""


class Disk:
    """A server's disk, as far as a client can tell it from a slow one: with `stop` it confirms nothing any more."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    @staticmethod
    def usual(kind: str) -> str:
        """The appendfsync of a disk that goes: where WAITAOF is believed, an fsync each second does."""
        return "everysec" if kind == "valkey" else "always"

    def stop(self) -> None:
        # Nothing is synced now, so that WAITAOF waits; or every second, where only always is a confirmation.
        self._set("no" if self.server.kind == "valkey" else "everysec")

    def go_on(self) -> None:
        self._set(self.usual(self.server.kind))

    def _set(self, appendfsync: str) -> None:
        self.server.call("CONFIG", "SET", "appendfsync", appendfsync)


def app_of(url: str, namespace: str, durability: str = "fsync", **options: Any) -> TaskQ:
    app = TaskQ("shop", redis_url=url, namespace=namespace, durability=durability, **options)
    app.task(add, name="add")
    return app


def stored(app: TaskQ, server: RedisServer, queue: str = "default") -> list[str]:
    return [id.decode() for id in server.call("LRANGE", app.broker.keys[0].ready(queue, 5), 0, -1)]


def calls_of(server: RedisServer, command: str) -> int:
    stats = server.call("INFO", "commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def by_enqueue(app: TaskQ) -> list[TaskHandle[Any]]:
    return [app.tasks["add"].enqueue(1, 2)]


def assert_held_up(call: Future[Any]) -> None:
    with pytest.raises(TimeoutError):
        call.result(HELD_UP_S)
