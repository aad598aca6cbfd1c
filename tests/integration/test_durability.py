"""Durability: what `enqueue` waits for before it returns, and what it says where that does not come."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from taskq import TaskQ
from taskq.broker.connect import MOST
from taskq.errors import DurabilityUnknown, EnqueueUnknown
from taskq.handle import TaskHandle
from tests.proxy import Fate, Proxy, nth
from tests.slow_disk import HELD_UP_S, Disk, app_of, assert_held_up, by_enqueue, calls_of, stored
from tests.support import wait_until

Enqueue = Callable[[TaskQ], list[TaskHandle[Any]]]


@pytest.fixture
def app(disk: Disk, namespace: str) -> Iterator[TaskQ]:
    """An app that has met its server."""
    app = app_of(disk.server.url, namespace)
    app.enqueue("add", 0, 0, queue="elsewhere")
    yield app
    app.close()


def by_name(app: TaskQ) -> list[TaskHandle[Any]]:
    return [app.enqueue("somewhere.else", queue="default")]


def by_enqueue_many(app: TaskQ) -> list[TaskHandle[Any]]:
    return [one.get() for one in app.tasks["add"].enqueue_many([(1, 2), (3, 4)])]


def by_aenqueue(app: TaskQ) -> list[TaskHandle[Any]]:
    async def main() -> list[TaskHandle[Any]]:
        try:
            return [await app.tasks["add"].aenqueue(1, 2)]
        finally:
            await app.aclose()

    return asyncio.run(main())


def by_aenqueue_many(app: TaskQ) -> list[TaskHandle[Any]]:
    async def main() -> list[TaskHandle[Any]]:
        try:
            return [one.get() for one in await app.tasks["add"].aenqueue_many([(1, 2), (3, 4)])]
        finally:
            await app.aclose()

    return asyncio.run(main())


WAYS = [by_enqueue, by_name, by_enqueue_many, by_aenqueue, by_aenqueue_many]


@pytest.mark.parametrize("enqueue", WAYS)
def test_a_call_returns_once_the_disk_has_it(
    disk: Disk, app: TaskQ, thread: ThreadPoolExecutor, enqueue: Enqueue
) -> None:
    disk.stop()
    call = thread.submit(enqueue, app)
    ids = wait_until(lambda: stored(app, disk.server))
    assert_held_up(call)

    disk.go_on()
    handles = call.result(10)

    assert [handle.id for handle in handles] == ids == stored(app, disk.server)
    assert all(handle.created for handle in handles)


@pytest.mark.parametrize("enqueue", WAYS)
def test_what_the_disk_does_not_confirm_is_unknown_and_retry_settles_it(
    disk: Disk, namespace: str, enqueue: Enqueue
) -> None:
    app = app_of(disk.server.url, namespace, patience="200ms")
    app.enqueue("add", 0, 0, queue="elsewhere")
    disk.stop()

    with pytest.raises(DurabilityUnknown, match=r"is not known to be as safe as durability fsync") as told:
        enqueue(app)
    ids = stored(app, disk.server)
    assert isinstance(told.value, EnqueueUnknown)
    assert told.value.id == ids[0]

    with pytest.raises(DurabilityUnknown):  # it is found stored, and that is not enough
        settled(told.value)
    disk.go_on()
    handle = settled(told.value)

    assert (handle.id, handle.created) == (ids[0], True)
    assert stored(app, disk.server) == ids
    app.close()


def settled(error: EnqueueUnknown) -> TaskHandle[Any]:
    handle = error.retry()
    if asyncio.iscoroutine(handle):
        handle = asyncio.run(handle)
    assert isinstance(handle, TaskHandle)
    return handle


@pytest.mark.parametrize("lost", ["WAITAOF", "SET", "enqueue"])
def test_a_repeat_that_finds_its_message_stored_waits_for_it_all_the_same(
    disk: Disk, namespace: str, thread: ThreadPoolExecutor, lost: str
) -> None:
    if disk.server.kind == "redis" and lost != "enqueue":
        lost = "CONFIG"
    with Proxy(disk.server.port) as proxy:
        app = app_of(proxy.url, namespace)
        app.enqueue("add", 0, 0, queue="elsewhere")
        disk.stop()
        proxy.judge = nth(lost, 1, Fate.LOSE_REPLY)

        call = thread.submit(by_enqueue, app)
        wait_until(lambda: proxy.lost[Fate.LOSE_REPLY], message="the reply to be lost")
        assert_held_up(call)

        disk.go_on()
        (handle,) = call.result(20)
        assert (handle.created, [handle.id]) == (True, stored(app, disk.server))
        app.close()


def test_what_a_server_lost_while_it_was_waited_for_is_stored_again(
    disk: Disk, app: TaskQ, thread: ThreadPoolExecutor
) -> None:
    server = disk.server
    disk.stop()
    call = thread.submit(by_enqueue, app)
    wait_until(lambda: stored(app, server))

    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    server.start()

    (handle,) = call.result(20)
    assert stored(app, server) == [handle.id]


@pytest.mark.parametrize("enqueue", [by_enqueue, by_aenqueue])
def test_what_is_written_and_the_wait_for_it_go_over_one_connection(
    disk: Disk, app: TaskQ, enqueue: Enqueue
) -> None:
    wanted = ["EVALSHA", "SET", "WAITAOF"]
    if disk.server.kind == "redis":
        wanted = wanted[:1]  # behind it is CONFIG there, which MONITOR does not tell
    with disk.server.client() as client, client.monitor() as monitor:
        enqueue(app)
        said: list[tuple[str, str]] = []
        while not said or said[-1][1] != wanted[-1]:
            told: Any = monitor.next_command()
            if told["client_type"] != "lua":
                said.append((told["client_port"], told["command"].split()[0]))

    assert [command for _, command in said[-len(wanted) :]] == wanted
    assert len({port for port, _ in said[-len(wanted) :]}) == 1, said


def test_a_relaxed_call_does_not_wait_for_others(disk: Disk, namespace: str) -> None:
    app = app_of(disk.server.url, namespace, "relaxed")
    task = app.tasks["add"]
    safe = task.using(durability="fsync")

    async def main() -> None:
        await safe.aenqueue(0, 0)
        disk.stop()
        waiting = [asyncio.create_task(safe.aenqueue(1, n)) for n in range(3)]
        await asyncio.wait_for(asyncio.gather(*(task.aenqueue(2, n) for n in range(3))), 5)
        done, _ = await asyncio.wait(waiting, timeout=HELD_UP_S)
        assert not done
        disk.go_on()
        assert all(handle.created for handle in await asyncio.gather(*waiting))
        await app.aclose()

    asyncio.run(main())


def test_as_many_calls_as_there_are_connections_wait_and_hold_up_no_other(disk: Disk, namespace: str) -> None:
    app = app_of(disk.server.url, namespace, "relaxed")
    task = app.tasks["add"]
    safe = task.using(durability="fsync")
    safe.enqueue(0, 0)

    async def main(waiting: Sequence[Future[Any]]) -> None:
        alike = [asyncio.create_task(safe.aenqueue_many([(1, n)])) for n in range(MOST)]
        wait_until(lambda: all(one.running() for one in waiting))
        await asyncio.sleep(HELD_UP_S)
        # They give their connections back for a moment every 2.5 s.
        assert (await asyncio.wait_for(asyncio.to_thread(task.enqueue, 2, 0), 1.5)).created
        assert (await asyncio.wait_for(task.aenqueue(2, 1), 1.5)).created
        assert not any(one.done() for one in waiting)
        assert not any(one.done() for one in alike)
        disk.go_on()
        await asyncio.gather(*alike)
        await app.aclose()

    disk.stop()
    with ThreadPoolExecutor(MOST) as pool:
        asyncio.run(main([pool.submit(safe.enqueue, 1, n) for n in range(MOST)]))


def test_calls_wait_together(disk: Disk, app: TaskQ) -> None:
    task, server = app.tasks["add"], disk.server
    waits = "waitaof" if server.kind == "valkey" else "config|get"
    before = calls_of(server, waits)

    assert all(one.created for one in task.enqueue_many([(1, n) for n in range(1_000)]))
    assert calls_of(server, waits) == before + 1

    async def main() -> None:
        await asyncio.gather(*(task.aenqueue(2, n) for n in range(1_000)))
        await app.aclose()

    asyncio.run(main())
    assert calls_of(server, waits) <= before + 4
    assert len(stored(app, server)) == 2_000


def test_a_batch_is_as_safe_as_its_safest_call(
    disk: Disk, namespace: str, thread: ThreadPoolExecutor
) -> None:
    app = app_of(disk.server.url, namespace, "relaxed")
    task = app.tasks["add"]
    task.using(durability="fsync").enqueue(0, 0)
    disk.stop()

    call = thread.submit(app.enqueue_many, [task.call(1, 1), task.using(durability="fsync").call(2, 2)])
    assert_held_up(call)
    disk.go_on()

    assert [one.get().id for one in call.result(10)] == stored(app, disk.server)[1:]
    app.close()


def test_after_an_unknown_batch_the_rest_is_not_sent(disk: Disk, namespace: str) -> None:
    app = app_of(disk.server.url, namespace, patience="200ms")
    task = app.tasks["add"]
    task.enqueue(0, 0)
    disk.stop()

    outcomes = task.enqueue_many([(1, n) for n in range(2_100)])

    assert {type(one.error).__name__ for one in outcomes[:2_048]} == {"DurabilityUnknown"}
    assert {str(one.error)[:36] for one in outcomes[2_048:]} == {"not sent, for the batch before is un"}
    assert len(stored(app, disk.server)) == 2_049
    disk.go_on()
    app.close()
