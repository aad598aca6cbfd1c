"""From `enqueue` to the end on real servers. The worker is played by the commands that a worker sends."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq import (
    ResultExpired,
    ResultNotStored,
    State,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TaskNotFound,
    TaskQ,
)
from taskq.broker.commands import reading, working
from taskq.broker.commands.working import Kind
from taskq.message import decode_message
from taskq.record import RemoteError
from tests.player import Player, ran, run
from tests.servers import RedisServer
from tests.support import wait_until


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

    @pytest.mark.parametrize("key", ["customer 7", "\"'\n\r\0\x1b{}|:%*", "ö" * 200])
    def test_a_key_is_held_while_its_task_lives(self, task: Any, worker: Player, key: str) -> None:
        sender = task.using(key=key)
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
        before = ran(app).get("evalsha", 0)
        handles = await asyncio.gather(*(task.aenqueue(n) for n in range(1_000)))
        assert ran(app).get("evalsha", 0) - before < 20
        return {handle.id for handle in handles}

    ids = run(app, main())
    assert len(ids) == 1_000
    assert worker.run_all() == 1_001
