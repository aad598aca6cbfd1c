"""The testing kit: timeouts and cancels of what runs inside a test, by the code that workers end tasks by."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import Any

import pytest

from taskq import SoftTimeout, State, TaskCancelled, TaskFailed, TaskQ, current_task
from taskq.testing import AppTesting
from tests.support import wait_until


class Work:
    """An app whose tasks do not end by themselves."""

    def __init__(self) -> None:
        self.app = TaskQ("work")
        self.log: list[Any] = []
        self.begun = threading.Event()
        self.kit: AppTesting
        once: Any = {"max_retries": 0, "result_ttl": "1d"}
        self.hang = self.app.task(name="hang", timeout=0.1, **once)(self._hang)
        self.ahang = self.app.task(name="ahang", timeout=0.1, **once)(self._ahang)
        self.soft = self.app.task(name="soft", soft_timeout=0.1, **once)(self._soft)
        self.asoft = self.app.task(name="asoft", soft_timeout=0.1, **once)(self._asoft)
        self.loop = self.app.task(name="loop")(self._hang)
        self.aloop = self.app.task(name="aloop")(self._ahang)
        self.slow = self.app.task(name="slow", timeout="1h", soft_timeout="50m", **once)(self._slow)
        self.aslow = self.app.task(name="aslow", timeout="1h", **once)(self._aslow)

    def _hang(self) -> None:
        self.begun.set()
        try:
            for _ in range(2_000):
                time.sleep(0.005)
        except BaseException as error:
            self.log.append(type(error).__name__)
            raise

    async def _ahang(self) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(10)
        except BaseException as error:
            self.log.append(type(error).__name__)
            raise

    def _soft(self) -> str:
        with contextlib.suppress(SoftTimeout):
            self._hang()
        return "half"

    async def _asoft(self) -> str:
        with contextlib.suppress(SoftTimeout):
            await self._ahang()
        return "half"

    def _slow(self, minutes: int) -> str:
        try:
            for _ in range(minutes):
                self.kit.advance("1m")  # in place of time.sleep
        except SoftTimeout:
            return "half"
        return "whole"

    async def _aslow(self, minutes: int) -> str:
        for _ in range(minutes):
            await self.kit.aadvance("1m")
            await asyncio.sleep(0)
        return "whole"


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.mark.parametrize("mode", ["inline", "queued"])
@pytest.mark.parametrize("name", ["hang", "ahang"])
def test_a_task_that_runs_past_its_timeout_fails(work: Work, mode: Any, name: str) -> None:
    with work.app.testing(mode) as t:
        handle = work.app.enqueue(name)
        t.run()
        with pytest.raises(TaskFailed, match=r"did not end within its timeout of 0\.1 s"):
            handle.result()
        assert work.app.enqueue(name).status() is (State.FAILED if mode == "inline" else State.QUEUED)

    assert work.log[0] == ("HardTimeout" if name == "hang" else "CancelledError")


@pytest.mark.parametrize("name", ["soft", "asoft"])
def test_a_soft_timeout_reaches_the_task(work: Work, name: str) -> None:
    with work.app.testing() as t:
        handle = work.app.enqueue(name)
        t.run()
        assert handle.result() == "half"

    assert work.log == ["SoftTimeout"]


@pytest.mark.parametrize("name", ["hang", "ahang", "soft", "asoft"])
def test_async_tests_have_timeouts_too(work: Work, name: str) -> None:
    async def test() -> State:
        async with work.app.testing() as t:
            handle = await work.app.aenqueue(name)
            await t.arun()
            return await handle.astatus()

    assert asyncio.run(test()) is (State.SUCCEEDED if "soft" in name else State.FAILED)


def test_a_task_that_moves_the_clock_grows_older_by_it(work: Work) -> None:
    with work.app.testing() as t:
        work.kit = t
        brief, half = work.slow.enqueue(49), work.slow.enqueue(70)
        begun = t.now
        t.run()
        assert (brief.result(), half.result()) == ("whole", "half")
        assert (t.now - begun).total_seconds() == (49 + 50) * 60
        info = half.info()
        assert info.took is not None
        assert 3_000 <= info.took < 3_060
        late = work.slow.enqueue(1)
        t.advance("2h")
        assert late.result() == "whole"


def test_an_async_task_that_moves_the_clock_grows_older_by_it(work: Work) -> None:
    async def test() -> None:
        async with work.app.testing() as t:
            work.kit = t
            brief, late = await work.aslow.aenqueue(59), await work.aslow.aenqueue(70)
            await t.arun()
            assert await brief.aresult() == "whole"
            with pytest.raises(TaskFailed, match="within its timeout of 3600 s"):
                await late.aresult()

    asyncio.run(test())


@pytest.mark.parametrize("mode", ["inline", "queued"])
@pytest.mark.parametrize("name", ["loop", "aloop"])
def test_a_running_task_that_is_cancelled_stops(work: Work, mode: Any, name: str) -> None:
    with work.app.testing(mode) as t:
        handle = work.app.handle("running")

        def cancel() -> None:
            assert work.begun.wait(10)
            work.log.append(handle.cancel())

        canceller = threading.Thread(target=cancel)
        canceller.start()
        work.app.named(name).using(id="running").enqueue()
        t.run()
        canceller.join()
        with pytest.raises(TaskCancelled):
            handle.result()

    assert sorted(map(str, work.log)) == sorted(
        ["State.RUNNING", "CancelRequested" if name == "loop" else "CancelledError"]
    )


@pytest.mark.parametrize("name", ["loop", "aloop"])
def test_async_tests_cancel_what_runs(work: Work, name: str) -> None:
    async def test() -> None:
        async with work.app.testing() as t:
            handle = await work.app.aenqueue(name)
            running = asyncio.create_task(t.arun())
            assert await asyncio.to_thread(work.begun.wait, 10)
            assert await handle.acancel() is State.RUNNING
            assert await running == [handle]
            assert await handle.astatus() is State.CANCELLED

    asyncio.run(test())


def test_a_task_may_cancel_itself(work: Work) -> None:
    @work.app.task
    def leave() -> None:
        work.app.handle(current_task().id).cancel()
        for _ in range(2_000):
            time.sleep(0.005)

    with work.app.testing("inline"):
        assert leave.enqueue().status() is State.CANCELLED


def test_what_waits_and_is_cancelled_never_starts(work: Work) -> None:
    with work.app.testing() as t:
        ready, delayed = work.loop.enqueue(), work.loop.using(delay="1m").enqueue()
        assert (ready.cancel(), delayed.cancel()) == (State.CANCELLED, State.CANCELLED)
        assert t.advance("2m") == []
        with pytest.raises(TaskCancelled):
            delayed.result()

    assert not work.begun.is_set()


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
@pytest.mark.parametrize("mode", ["inline", "queued"])
def test_chaos_in_an_async_test(mode: Any, kill_after: Any, duplicate: bool, committed: list[bool]) -> None:
    app = TaskQ("shop")

    @app.task
    async def double(n: int) -> int:
        await asyncio.sleep(0)
        return 2 * n

    async def test() -> None:
        async with app.testing(mode) as t:
            with pytest.raises(RuntimeError, match=r"use `await achaos\(\)`"):
                t.chaos(double.call(2))
            runs = await t.achaos(double.call(2), kill_after=kill_after, duplicate=duplicate)
            assert [(run.result, run.committed) for run in runs] == [(4, each) for each in committed]

    asyncio.run(test())


def test_chaos_says_what_is_in_its_way(work: Work) -> None:
    with work.app.testing() as t:
        first = work.loop.enqueue()
        with pytest.raises(RuntimeError, match=rf"loop \({first.id}\) is ready: run\(\) it first"):
            t.chaos(work.soft.call())


def test_the_kit_ends_its_watch(work: Work) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with work.app.testing() as t:
        work.soft.enqueue()
        t.run()
    wait_until(lambda: {thread.name for thread in threading.enumerate()} <= before, message="threads to end")

    async def test() -> int:
        async with work.app.testing():
            pass
        await asyncio.sleep(0)
        return len(asyncio.all_tasks())

    assert asyncio.run(test()) == 1
