"""From `enqueue` to `result` on real servers. The worker is played by the commands that a worker sends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq import (
    ResultExpired,
    ResultNotStored,
    ResultTimeout,
    State,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TaskHandle,
    TaskNotFound,
    TaskQ,
    as_completed,
    as_completed_async,
    wait,
    wait_async,
)
from taskq.broker.commands import reading, working
from taskq.broker.commands.working import Claimed, Kind
from taskq.message import decode_message
from taskq.names import new_process_id
from taskq.record import Outcome, RemoteError, encode_outcome
from tests.servers import RedisServer
from tests.support import wait_until

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


@pytest.fixture
def app(server: RedisServer, namespace: str) -> Iterator[TaskQ]:
    app = TaskQ("shop", redis_url=server.url, namespace=namespace)
    app.task(add, name="add")
    yield app
    app.close()


@pytest.fixture
def task(app: TaskQ) -> Any:
    return app.tasks["add"]


@pytest.fixture
def worker(app: TaskQ, server: RedisServer) -> Iterator[Player]:
    player = Player(app, server)
    yield player
    player.run_all()
    player.leave()


def run(app: TaskQ, main: Any) -> Any:
    """Run a coroutine on a loop of its own, and close what it opened there."""

    async def closing() -> Any:
        try:
            return await main
        finally:
            await app.aclose()

    return asyncio.run(closing())


@pytest.mark.contract
class TestOneTask:
    def test_what_was_enqueued_runs_and_its_result_arrives(self, task: Any, worker: Player) -> None:
        handle = task.enqueue(1, b=2)
        assert handle.created
        assert handle.status() is State.QUEUED

        [claimed] = worker.claim()
        assert claimed.id == handle.id
        assert handle.status() is State.RUNNING
        assert handle.info().process == worker.process
        worker.run([claimed])

        assert handle.result(timeout=10) == 3
        assert handle.ready()

    def test_it_does_so_on_a_loop(self, app: TaskQ, task: Any, worker: Player) -> None:
        async def main() -> int:
            handle = await task.aenqueue(1, b=2)
            assert await handle.astatus() is State.QUEUED
            waiting = asyncio.create_task(handle.aresult(timeout=10))
            await asyncio.to_thread(worker.run_all)
            result: int = await waiting
            assert await handle.aready()
            return result

        assert run(app, main()) == 3

    def test_its_result_is_there_for_a_handle_from_anywhere(
        self, app: TaskQ, task: Any, worker: Player, server: RedisServer, namespace: str
    ) -> None:
        id = task.enqueue(1, b=2).id
        worker.run_all()
        elsewhere = TaskQ("elsewhere", redis_url=server.url, namespace=namespace)
        assert elsewhere.handle(id).result(timeout=10) == 3
        assert task.handle(id) == app.handle(id)
        elsewhere.close()

    def test_a_failure_is_told_with_its_traceback(self, task: Any, worker: Player) -> None:
        handle = task.enqueue(1)
        error = RemoteError("builtins.OSError", "disk", "Traceback: line 1")
        worker.settle(worker.claim(), Kind.FAILED, error=error)
        with pytest.raises(TaskFailed, match="disk") as caught:
            handle.result(timeout=10)
        assert caught.value.traceback == "Traceback: line 1"
        assert handle.info().error == error
        assert handle.info().args == (1,)

    def test_a_result_that_was_not_kept_says_so(self, task: Any, worker: Player) -> None:
        handle = task.using(result_ttl=0).enqueue(1)
        worker.settle(worker.claim(), Kind.SUCCEEDED)
        with pytest.raises(ResultNotStored):
            handle.result(timeout=10)

    def test_what_ended_long_ago_has_expired(self, app: TaskQ, task: Any, worker: Player) -> None:
        handle = task.enqueue(1)
        worker.settle(worker.claim(), Kind.SUCCEEDED, keep_ms=1)
        wait_until(lambda: not app.broker.call(_exists(app, handle.id)))
        with pytest.raises(ResultExpired):
            handle.result(timeout=10)
        with pytest.raises(TaskNotFound) as caught:
            app.handle(handle.id).result(timeout=10)
        assert type(caught.value) is TaskNotFound

    def test_it_can_be_cancelled_while_it_waits(self, task: Any, worker: Player) -> None:
        handle = task.enqueue(1)
        assert handle.cancel() is State.CANCELLED
        assert handle.cancel() is State.CANCELLED
        assert worker.claim() == []
        with pytest.raises(TaskCancelled):
            handle.result(timeout=10)

    def test_while_it_runs_a_cancel_is_a_request(self, task: Any, worker: Player) -> None:
        handle = task.enqueue(1)
        claimed = worker.claim()
        assert handle.cancel() is State.RUNNING
        worker.run(claimed)
        assert handle.cancel() is State.SUCCEEDED


def _exists(app: TaskQ, id: str) -> Any:
    [keys] = app.broker.keys
    return reading.read(keys, "EXISTS", keys.record(id), keys.message(id))


@pytest.mark.contract
class TestOptions:
    def test_one_id_is_one_task(self, task: Any, worker: Player) -> None:
        sender = task.using(id="order-7")
        first, second = sender.enqueue(1), sender.enqueue(1)
        assert (first.created, second.created) == (True, False)
        assert first == second
        assert worker.run_all() == 1
        third = sender.enqueue(1)
        assert not third.created
        assert third.result(timeout=10) == 1

    def test_a_key_is_held_while_its_task_lives(self, task: Any, worker: Player) -> None:
        sender = task.using(key="customer 7")
        first, second = sender.enqueue(1), sender.enqueue(2)
        assert (first.created, second.created) == (True, False)
        assert first.id == second.id
        worker.run_all()
        third = sender.enqueue(3)
        assert third.created
        assert third.id != first.id

    def test_a_key_can_be_kept_for_a_time(self, task: Any, worker: Player) -> None:
        sender = task.using(key="customer 7", key_ttl=0.5)
        first = sender.enqueue(1)
        worker.run_all()
        assert sender.enqueue(2) == first
        wait_until(lambda: sender.enqueue(3).created)

    def test_a_delayed_task_is_scheduled_and_never_early(self, task: Any, worker: Player) -> None:
        asked = time.monotonic()
        handle = task.using(delay=0.3).enqueue(1)
        assert handle.status() is State.SCHEDULED
        due = handle.info().due
        assert due is not None
        assert abs(due - datetime.now(UTC)) < timedelta(seconds=5)
        assert worker.claim() == []

        [claimed] = wait_until(worker.claim)

        assert time.monotonic() - asked >= 0.3
        assert claimed.id == handle.id
        worker.run([claimed])

    def test_an_eta_is_an_instant(self, task: Any, worker: Player) -> None:
        later = task.using(eta=datetime.now(UTC) + timedelta(hours=1)).enqueue(1)
        past = task.using(eta=datetime.now(UTC) - timedelta(hours=1)).enqueue(1)
        assert later.status() is State.SCHEDULED
        assert past.status() is State.QUEUED
        assert later.cancel() is State.CANCELLED

    def test_what_has_expired_never_starts(self, task: Any, worker: Player) -> None:
        handle = task.using(expires=0.01).enqueue(1)
        time.sleep(0.05)  # its time is over by any clock
        assert worker.claim() == []
        assert handle.status() is State.EXPIRED
        with pytest.raises(TaskExpired):
            handle.result(timeout=10)

    def test_nine_comes_first_and_front_before_that(self, task: Any, worker: Player) -> None:
        late = task.using(priority=1).enqueue(1)
        plain = [task.enqueue(n) for n in range(3)]
        urgent = task.using(priority=9).enqueue(1)
        front = task.using(front=True).enqueue(1)
        order = []
        while tasks := worker.claim(1):
            order += [claimed.id for claimed in tasks]
            worker.run(tasks)
        assert order == [handle.id for handle in (urgent, front, *plain, late)]

    def test_options_and_headers_reach_the_worker(self, task: Any, worker: Player) -> None:
        task.using(queue="other", max_retries=1, headers={"trace": "1"}, tags=["nightly"]).enqueue(1)
        [claimed] = worker.claim()
        message = decode_message(claimed.message)
        assert (message.queue, message.max_retries) == ("other", 1)
        assert (message.headers, message.tags) == ({"trace": "1"}, ["nightly"])
        assert abs(message.created_ms - time.time() * 1_000) < 5_000
        worker.run([claimed])


@pytest.mark.contract
class TestMany:
    def test_many_calls_keep_their_order(self, task: Any, worker: Player) -> None:
        outcomes = task.enqueue_many((n,) for n in range(1_000))
        assert all(outcome.created for outcome in outcomes)
        order = []
        while tasks := worker.claim():
            order += [claimed.id for claimed in tasks]
            worker.run(tasks)
        assert order == [outcome.get().id for outcome in outcomes]
        assert [outcome.get().result(timeout=10) for outcome in outcomes[::100]] == [*range(0, 1_000, 100)]

    def test_outcomes_tell_what_was_known(self, app: TaskQ, task: Any, worker: Player) -> None:
        keyed = task.using(key="k")
        outcomes = app.enqueue_many(
            [keyed.call(1), task.call(2), keyed.call(3), task.call("x"), task.call(*"abc")]
        )
        assert [outcome.created for outcome in outcomes] == [True, True, False, True, False]
        assert outcomes[2].get().id == outcomes[0].get().id
        assert outcomes[4].error is not None
        while tasks := worker.claim():
            worker.settle(tasks, Kind.SUCCEEDED)

    def test_a_call_by_name_waits_where_its_task_is_registered(
        self, app: TaskQ, worker: Player, server: RedisServer, namespace: str
    ) -> None:
        app.broker.call(working.register(worker.keys, worker.process, {"add": "sums"}))
        producer = TaskQ("producer", redis_url=server.url, namespace=namespace)
        handle = producer.enqueue("add", 1, b=2)
        assert handle.info().queue == "sums"
        worker.run_all()
        assert handle.result(timeout=10) == 3
        producer.close()


def test_concurrent_calls_on_a_loop_travel_together(app: TaskQ, task: Any, worker: Player) -> None:
    async def main() -> set[str]:
        await task.aenqueue(0)
        before = _calls(app, "evalsha")
        handles = await asyncio.gather(*(task.aenqueue(n) for n in range(1_000)))
        assert _calls(app, "evalsha") - before < 20
        return {handle.id for handle in handles}

    ids = run(app, main())
    assert len(ids) == 1_000
    assert worker.run_all() == 1_001


def _calls(app: TaskQ, command: str) -> int:
    """Give how often the server has run a command."""
    return _stats(app).get(command, 0)


def _stats(app: TaskQ) -> dict[str, int]:
    told = app.broker.call(reading.read(app.broker.keys[0], "INFO", "commandstats")).decode()
    lines = [
        line.removeprefix("cmdstat_").split(":") for line in told.splitlines() if line.startswith("cmdstat_")
    ]
    return {name: int(stats.split(",")[0].removeprefix("calls=")) for name, stats in lines}


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
        before = await asyncio.to_thread(_stats, app)
        await asyncio.sleep(10)
        after = await asyncio.to_thread(_stats, app)
        assert await asyncio.to_thread(_blocked, server) == 1
        moved = {name for name, calls in after.items() if calls != before.get(name, 0)}
        assert moved <= {"info"}, "only our own looks"
        assert await asyncio.to_thread(worker.run_all) == 10_000
        return await asyncio.gather(*waiting)

    assert run(app, main()) == [*range(10_000)]
