"""memory://NAME: one server in this process, for every kind of client, with a clock that can be set."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator

import pytest

from taskq import State, TaskQ
from taskq.broker import memory
from taskq.broker.client import Broker
from taskq.broker.commands import reading
from tests.hand import Hand, put


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield name
    memory.forget(name)


@pytest.fixture
def broker(name: str) -> Iterator[Broker]:
    broker = Broker(f"memory://{name}")
    yield broker
    broker.close()


def test_clients_of_one_name_share_a_server(name: str, broker: Broker) -> None:
    app = TaskQ("shop", redis_url=f"memory://{name}")
    id = put(broker)

    assert app.handle(id).status() is State.QUEUED
    app.close()


def test_another_name_is_another_server(broker: Broker) -> None:
    id = put(broker)
    other = Broker("memory://other-name")

    assert other.run(other.store([])) == []
    assert TaskQ("shop", redis_url="memory://other-name").broker.call(
        reading.lookup(other.keys[0], [id])
    ) == [(None, None)]
    memory.forget("other-name")


def test_sync_clients_loops_and_the_inbox_work_on_it(name: str, broker: Broker) -> None:
    app = TaskQ("shop", redis_url=f"memory://{name}")

    @app.task(name="shop.add")
    def add(a: int, b: int) -> int:
        return a + b

    hand = Hand(broker)
    first = add.enqueue(1, 2)
    waiting = threading.Thread(target=lambda: results.append(first.result(timeout="20s")))
    results: list[int] = []
    waiting.start()

    async def second() -> int:
        handle = await add.aenqueue(3, 4)
        for claimed in hand.take():
            hand.succeed(claimed, 7)
        result = await handle.aresult(timeout="20s")
        await asyncio.to_thread(waiting.join)
        await app.aclose()
        return result

    assert asyncio.run(second()) == 7
    assert results == [7]


def test_a_client_that_closes_leaves_no_thread_waiting(name: str) -> None:
    others = set(threading.enumerate())
    app = TaskQ("shop", redis_url=f"memory://{name}")
    handle = app.enqueue("shop.add", queue="default")
    with pytest.raises(TimeoutError):
        handle.result(timeout="50ms")
    # The thread sleeps until somebody waits again; it must end when its client does, blocked or not.
    future = handle.inbox.watch([handle.id])[handle.id]
    [thread] = [each for each in threading.enumerate() if each not in others and each.name == "taskq-inbox"]

    app.close()

    thread.join(10)
    assert not thread.is_alive()
    assert future.exception() is not None


def test_its_clock_is_the_one_that_scripts_see_and_keys_expire_by(name: str, broker: Broker) -> None:
    server = memory.server(name)
    server.clock = lambda: 2_000_000_000.25
    hand = Hand(broker)
    id = put(broker)
    hand.succeed(hand.take_one(), None)

    assert broker.now_ms() // 1_000 == 2_000_000_000
    [(record, _)] = broker.call(reading.lookup(broker.keys[0], [id]))
    assert record is not None

    server.clock = lambda: 2_000_000_000.25 + 601
    [(record, _)] = broker.call(reading.lookup(broker.keys[0], [id]))
    assert record is None
