"""Waiting for results on real servers: by threads and loops, for one and for many."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq import (
    ResultTimeout,
    TaskHandle,
    TaskNotFound,
    TaskQ,
    as_completed,
    as_completed_async,
    wait,
    wait_async,
)
from tests.player import Player, add, ran, run
from tests.servers import RedisServer
from tests.support import wait_until


class TestWaiting:
    def test_a_result_arrives_while_it_is_waited_for(self, task: Any, worker: Player) -> None:
        handle = task.enqueue(1)
        later = threading.Timer(0.1, worker.run_all)
        later.start()
        asked = time.monotonic()
        assert handle.result(timeout=20) == 1
        assert time.monotonic() - asked < 5
        later.join()

    def test_what_takes_too_long_is_a_timeout(self, app: TaskQ, task: Any, worker: Player) -> None:
        handle = task.enqueue(1)
        for timeout in (0, 0.05, "50ms"):
            with pytest.raises(ResultTimeout, match=handle.id):
                handle.result(timeout=timeout)
            with pytest.raises(TimeoutError):
                run(app, handle.aresult(timeout=timeout))

    def test_a_timeout_says_where_the_task_stands(self, app: TaskQ, task: Any, worker: Player) -> None:
        handle = task.enqueue(1)
        claimed = []
        for state in ("queued", "running"):
            late = f"has not ended within 0.05 s: it is {state}; it may still run, and succeed"
            with pytest.raises(ResultTimeout, match=late):
                handle.result(timeout="50ms")
            with pytest.raises(ResultTimeout, match=late):
                run(app, handle.aresult(timeout=0.05))
            claimed += worker.claim(1)
        worker.run(claimed)

    def test_a_timeout_of_nothing_is_a_look(self, app: TaskQ, task: Any, worker: Player) -> None:
        handle = task.enqueue(1)
        worker.run_all()
        assert handle.result(timeout=0) == 1
        assert run(app, task.handle(handle.id).aresult(timeout=0)) == 1

    def test_who_gives_up_leaves_others_waiting(
        self, app: TaskQ, task: Any, worker: Player, server: RedisServer
    ) -> None:
        handle = task.enqueue(1)
        ended: list[list[TaskHandle[int]]] = []
        patient = threading.Thread(target=lambda: ended.append(wait([handle], timeout=5)[0]))
        patient.start()
        wait_until(lambda: _waited_for(app, server) == 1)
        with pytest.raises(ResultTimeout):
            handle.result(timeout=0.05)
        worker.run_all()
        patient.join(timeout=10)
        assert ended == [[handle]]

    def test_many_are_waited_for_at_once(self, task: Any, worker: Player) -> None:
        handles = [task.enqueue(n) for n in range(20)]
        assert wait(handles, timeout=0.05) == ([], handles)
        done: list[TaskHandle[int]] = []
        while len(done) < 10:
            tasks = worker.claim(1)
            worker.run(tasks)
            done += [task.handle(claimed.id) for claimed in tasks]
        pending = [handle for handle in handles if handle not in done]
        assert wait([*handles, handles[0]], timeout=0.2) == ([*done, handles[0]], pending)

    def test_they_come_as_they_end(self, task: Any, worker: Player) -> None:
        handles = [task.enqueue(n) for n in range(5)]
        claimed = {one.id: one for one in worker.claim(5) + worker.claim(5) + worker.claim(5)}
        order = [3, 1, 4, 0, 2]
        seen = []
        coming = as_completed(handles, timeout=20)
        for n in order:
            worker.run([claimed[handles[n].id]])
            handle = next(coming)
            seen.append(handle.result())
        assert seen == order
        assert list(coming) == []

    def test_what_does_not_end_is_a_timeout(self, task: Any, worker: Player) -> None:
        handles = [task.enqueue(n) for n in range(3)]
        worker.run(worker.claim(1))
        with pytest.raises(ResultTimeout, match="2 tasks"):
            list(as_completed(handles, timeout=0.1))

    def test_async_twins_do_the_same(self, app: TaskQ, task: Any, worker: Player) -> None:
        async def main() -> None:
            handles = [await task.aenqueue(n) for n in range(10)]
            assert await wait_async(handles, timeout=0.05) == ([], handles)
            await asyncio.to_thread(worker.run_all)
            assert await wait_async(handles, timeout=20) == (handles, [])
            assert await wait_async([]) == ([], [])
            again = [task.handle(handle.id) for handle in handles]
            seen = {handle.id async for handle in as_completed_async(again, timeout=20)}
            assert seen == {handle.id for handle in handles}
            never = [await task.aenqueue(1), await task.aenqueue(2)]
            with pytest.raises(ResultTimeout, match="2 tasks"):
                await anext(as_completed_async(never, timeout=0.05))

        run(app, main())

    def test_an_unknown_task_is_waited_for_by_no_one(self, app: TaskQ, worker: Player) -> None:
        handle = app.handle("0-unknown")
        assert wait([handle], timeout=20) == ([handle], [])
        with pytest.raises(TaskNotFound):
            handle.result(timeout=20)
        with pytest.raises(TaskNotFound):
            run(app, app.handle("0-unknown").aresult(timeout=20))


def _waited_for(app: TaskQ, server: RedisServer) -> int:
    with server.client() as client:
        return int(client.hlen(app.broker.keys[0].prefix + "waits"))


def _blocked(server: RedisServer) -> int:
    with server.client() as client:
        return sum(1 for one in client.client_list() if one["cmd"] == "blmpop")


@pytest.fixture
def alone(redis_server: Callable[..., RedisServer]) -> Iterator[tuple[RedisServer, TaskQ, Player]]:
    """A server of its own, so that all its clients and counters are ours."""
    server = redis_server(aof=False)
    app = TaskQ("shop", redis_url=server.url)
    app.task(add, name="add")
    player = Player(app, server)
    yield server, app, player
    app.close()


def test_a_server_that_went_away_hides_no_timeout(alone: tuple[RedisServer, TaskQ, Player]) -> None:
    server, app, _ = alone
    handle = app.tasks["add"].enqueue(1)
    later = threading.Timer(0.1, server.stop)
    later.start()
    with pytest.raises(ResultTimeout, match="has not ended within 2 s; it may still run"):
        handle.result(timeout=2)
    later.join()


def test_threads_and_loops_share_one_connection(alone: tuple[RedisServer, TaskQ, Player]) -> None:
    server, app, worker = alone
    handles = [outcome.get() for outcome in app.tasks["add"].enqueue_many((n,) for n in range(200))]
    threads = [threading.Thread(target=wait, args=([handle],)) for handle in handles[:20]]
    for thread in threads:
        thread.start()

    async def main() -> list[Any]:
        waiting = [asyncio.create_task(handle.aresult(timeout=30)) for handle in handles]
        await asyncio.to_thread(wait_until, lambda: _waited_for(app, server) == 200 and _blocked(server))
        assert _blocked(server) == 1
        await asyncio.to_thread(worker.run_all)
        return await asyncio.gather(*waiting)

    assert run(app, main()) == [*range(200)]
    for thread in threads:
        thread.join(timeout=10)


@pytest.mark.timeout(120)
def test_ten_thousand_waiters_share_one_connection_and_nothing_polls(
    alone: tuple[RedisServer, TaskQ, Player],
) -> None:
    server, app, worker = alone
    handles = [outcome.get() for outcome in app.tasks["add"].enqueue_many((n,) for n in range(10_000))]

    async def main() -> list[Any]:
        waiting = [asyncio.create_task(handle.aresult(timeout=90)) for handle in handles]
        await asyncio.to_thread(wait_until, lambda: _waited_for(app, server) == 10_000, 30)
        await asyncio.to_thread(wait_until, lambda: _blocked(server) == 1)
        await asyncio.sleep(1)  # the first look of the connection is over
        before = await asyncio.to_thread(ran, app)
        await asyncio.sleep(10)
        after = await asyncio.to_thread(ran, app)
        assert await asyncio.to_thread(_blocked, server) == 1
        moved = {name for name, calls in after.items() if calls != before.get(name, 0)}
        assert moved <= {"info"}, "only our own looks"
        assert await asyncio.to_thread(worker.run_all) == 10_000
        return await asyncio.gather(*waiting)

    assert run(app, main()) == [*range(10_000)]
