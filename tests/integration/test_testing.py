"""The testing kit: what a test sees of tasks that run inside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from taskq import (
    Middleware,
    ResultTimeout,
    RetryPolicy,
    State,
    TaskFailed,
    TaskQ,
    as_completed,
    current_task,
    wait,
)
from taskq.errors import NotEncodable
from tests.support import wait_until

ROOT = Path(__file__).parents[2]


class Shop:
    """An app with what happened in it."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.app = TaskQ("shop", lifespan=self._lifespan, middleware=[_Hooks(self.log)])
        self.add = self.app.task(name="add")(self._add)
        self.flaky = self.app.task(name="flaky", retry=RetryPolicy(max_retries=2, jitter=False))(self._flaky)
        self.later = self.app.task(name="later")(self._later)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: TaskQ) -> AsyncGenerator[str]:
        self.log.append("up")
        yield "state"
        self.log.append("down")

    def _add(self, a: int, b: int = 1) -> int:
        return a + b

    def _flaky(self) -> None:
        self.log.append(current_task().attempt)
        raise ValueError("no")

    async def _later(self, n: int) -> str:
        handle = await self.add.aenqueue(n)
        return f"{current_task().state} {handle.id != ''}"


class _Hooks(Middleware):
    def __init__(self, log: list[Any]) -> None:
        self._log = log

    async def before_worker_start(self, app: Any) -> None:
        self._log.append("hook")


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_inline_runs_a_task_before_enqueue_returns(shop: Shop) -> None:
    with shop.app.testing("inline") as t:
        assert shop.add.enqueue(1, 2).result() == 3
        assert shop.later.enqueue(1).result() == "state True"
        assert [call.args for call in t.enqueued(shop.add)] == [(1, 2), (1,)]
        delayed = shop.add.using(delay="1h").enqueue(5)
        assert delayed.result() == 6

    assert shop.log == ["hook", "up", "down"]


def test_inline_retries_at_once_and_fails_at_the_handle(shop: Shop) -> None:
    with shop.app.testing("inline"):
        handle = shop.flaky.enqueue()
        with pytest.raises(TaskFailed, match="no"):
            handle.result()

    assert shop.log[2:5] == [1, 2, 3]


def test_what_cannot_travel_fails_inline_too(shop: Shop) -> None:
    @shop.app.task
    def gives() -> object:
        return object()

    with shop.app.testing("inline"):
        with pytest.raises(NotEncodable):
            shop.app.enqueue("add", object())
        with pytest.raises(TaskFailed, match="NotEncodable"):
            gives.enqueue().result()


def test_many_calls_run_one_after_the_other_inline(shop: Shop) -> None:
    with shop.app.testing("inline"):
        results = [one.get().result() for one in shop.add.enqueue_many([(n, n) for n in range(100)])]

    assert results == [2 * n for n in range(100)]


@pytest.mark.parametrize("mode", ["inline", "queued"])
def test_async_tests_run_tasks_on_their_own_loop(shop: Shop, mode: Any) -> None:
    async def test() -> None:
        async with shop.app.testing(mode) as t:
            handle = await shop.later.aenqueue(1)
            ran = [each.id for each in await t.arun()]
            assert len(ran) == (0 if mode == "inline" else 2)
            assert await handle.aresult(timeout=0) == "state True"
            assert await (await shop.add.aenqueue(1)).aready() is (mode == "inline")
            with pytest.raises(RuntimeError, match="use `await a"):
                t.run()

    asyncio.run(test())


def test_queued_tasks_wait_until_they_are_run(shop: Shop) -> None:
    with shop.app.testing() as t:
        first, second = shop.add.enqueue(1), shop.add.using(queue="other").enqueue(2)
        assert first.status() is State.QUEUED
        assert t.run_one() == first
        assert t.run() == [second]
        assert t.run_one() is None
        assert second.result() == 3


def test_a_test_does_not_wait_for_what_nothing_runs(shop: Shop) -> None:
    with shop.app.testing() as t:
        handle = shop.add.enqueue(1)
        for waits in (handle.result, lambda: wait([handle]), lambda: [*as_completed([handle])]):
            with pytest.raises(
                ResultTimeout, match=r"nothing runs it while the test waits: run\(\) it first"
            ):
                waits()
        assert wait([handle], timeout="20ms") == ([], [handle])
        waiting = ThreadPoolExecutor(1)
        elsewhere = waiting.submit(handle.result)
        assert t.run() == [handle]
        assert elsewhere.result(10) == handle.result() == 2
        waiting.shutdown()


def test_the_clock_fires_delays_retries_and_expiries_in_order(shop: Shop) -> None:
    with shop.app.testing() as t:
        begun = t.now
        late = shop.add.using(delay="10m").enqueue(1)
        expired = shop.add.using(delay="20m", expires="15m").enqueue(2)
        flaky = shop.flaky.enqueue()
        assert t.run() == [flaky]
        assert t.advance("5m") == [flaky, flaky]
        assert flaky.status() is State.FAILED
        assert t.advance("5m") == [late]
        assert t.advance("10m") == []
        assert expired.status() is State.EXPIRED
        assert (t.now - begun).total_seconds() == 1_200

    assert [entry for entry in shop.log if isinstance(entry, int)] == [1, 2, 3]


def test_without_a_worker_what_waits_expires(shop: Shop) -> None:
    with shop.app.testing() as t:
        handle = shop.add.using(expires="1m").enqueue(1)
        assert t.advance("2m", run=False) == []
        assert handle.status() is State.EXPIRED


def test_a_call_without_a_timeout_is_told_from_one_that_leaves_it_to_the_task(shop: Shop) -> None:
    with shop.app.testing() as t:
        sender = shop.add.using(timeout=None)
        sender.enqueue(1, 2)
        assert t.assert_enqueued(shop.add, 1, 2).options == {"timeout": None}
        sender.using(tags=["x"]).enqueue(3, 4)
        assert t.assert_enqueued(shop.add, 3, 4).options == {"timeout": None, "tags": ["x"]}
        sender.using(timeout=5).enqueue(5, 6)
        assert t.assert_enqueued(shop.add, 5, 6).options == {"timeout": 5.0}
        shop.add.using(tags=None).enqueue(7, 8)
        assert t.assert_enqueued(shop.add, 7, 8).options == {}


def test_an_assertion_that_fails_shows_what_was_enqueued(shop: Shop) -> None:
    with shop.app.testing() as t:
        with pytest.raises(AssertionError, match="nothing"):
            t.assert_enqueued(shop.add)
        shop.add.using(delay="1m", key="a:b", priority=9, tags=["x"]).enqueue(1, 2)
        assert t.assert_enqueued(shop.add, a=1, b=2).options == {"delay": 60.0, "key": "a:b", "tags": ["x"]}
        with pytest.raises(AssertionError) as raised:
            t.assert_enqueued(shop.add, 1)

    assert str(raised.value) == (
        "add(1) was not enqueued. What was:\n"
        "  add(1, 2)  queue='default' priority=9 delay=60.0 key='a:b' tags=['x']"
    )


@pytest.mark.parametrize(
    ("kill_after", "duplicate", "committed"),
    [
        ("claim", False, [True]),
        ("run", False, [False, True]),
        ("settle", False, [True]),
        (None, True, [True, False]),
        ("run", True, [False, True, False]),
    ],
)
def test_chaos_runs_a_task_as_often_as_that_misfortune_does(
    shop: Shop, kill_after: Any, duplicate: bool, committed: list[bool]
) -> None:
    with shop.app.testing() as t:
        runs = t.chaos(shop.add.call(1, 2), kill_after=kill_after, duplicate=duplicate)

    assert [run.committed for run in runs] == committed
    assert {run.result for run in runs} == {3}


def test_what_is_meant_for_the_test_leaves_the_task(shop: Shop) -> None:
    @shop.app.task
    def stop() -> None:
        raise KeyboardInterrupt

    with shop.app.testing("inline"), pytest.raises(KeyboardInterrupt):
        stop.enqueue()


def test_the_app_has_its_own_broker_back_afterwards(shop: Shop) -> None:
    app = TaskQ("own", redis_url="memory://own")
    before = app.broker
    with app.testing(), app.testing("inline"):
        assert app.broker is not before

    assert app.broker is before


@pytest.mark.parametrize("mode", ["inline", "queued"])
def test_nothing_is_left_running(shop: Shop, mode: Any) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with shop.app.testing(mode) as t:
        handle = shop.later.enqueue(1)
        t.run()
        assert handle.result() == "state True"
        with pytest.raises(TimeoutError):
            t.app.enqueue("nobody.knows", queue="default").result(timeout="20ms")

    wait_until(lambda: {thread.name for thread in threading.enumerate()} <= before, message="threads to end")


def test_a_lifespan_that_fails_is_told_and_leaves_the_app_as_it_was() -> None:
    @contextlib.asynccontextmanager
    async def lifespan(app: TaskQ) -> AsyncGenerator[None]:
        if app.name == "bad":
            raise LookupError("no model here")
        yield

    app = TaskQ("bad", lifespan=lifespan, redis_url="memory://own")
    before = app.broker

    with pytest.raises(LookupError, match="no model"), app.testing():
        pass

    assert app.broker is before


_TESTS = """
import pytest
from taskq import TaskFailed, TaskQ

app = TaskQ("plain")

@app.task
def add(a: int, b: int) -> int:
    return a + b

@app.task(timeout="100ms", max_retries=0)
def hang() -> None:
    import time
    while True:
        time.sleep(0.01)

def test_it_works(taskq_worker):
    worker = taskq_worker(app)
    assert add.enqueue(1, 2).result(timeout="10s") == 3
    with pytest.raises(TaskFailed):
        hang.enqueue().result(timeout="10s")
    worker.stop()

def test_a_lifespan_that_fails_is_told(taskq_worker):
    with pytest.raises(Exception, match="decorate it"):
        taskq_worker(TaskQ("bad", lifespan=lambda app: 1))
"""


def test_the_fixtures_give_a_server_and_a_worker(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(_TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "taskq.testing.plugin", "test_it.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "",
        },
        capture_output=True,
        text=True,
        timeout=50,
    )

    assert "2 passed" in done.stdout, done.stdout + done.stderr
