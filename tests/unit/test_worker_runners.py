"""Threads and the event loop as they take jobs, where what comes from outside comes at a bad moment."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import pytest

from taskq.broker.commands.working import Kind
from taskq.broker.namespace import Namespace
from taskq.middleware import Hooks
from taskq.worker.desk import Desk
from taskq.worker.holdings import Holdings
from taskq.worker.job import Gauge, Job
from taskq.worker.ledger import Ledger
from taskq.worker.loop import LoopRunner
from taskq.worker.prefetch import Prefetch
from taskq.worker.testimony import Testimony as Page
from taskq.worker.threads import ThreadRunner
from taskq.worker.timeouts import Timeouts, kill_at_ms
from taskq.worker.verdict import CancelRequested, HardTimeout, Judge, Verdict
from tests.jobs import app, job
from tests.support import wait_until


class HastyDesk(Desk):
    """A desk where somebody cancels each job right after it was admitted, before the runner has noted it."""

    hasty = False

    def admit(self, job: Job, slot: int, *, begins: bool = True) -> bool:
        admitted = super().admit(job, slot, begins=begins)
        job.cancelled = self.hasty
        return admitted


class Shop:
    """Both runners at one desk, with a loop that runs in a thread; `ended` has what was reported."""

    def __init__(self, page: Page) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        namespace = Namespace("tests", 1)
        holdings = Holdings(Prefetch(2), Ledger(log_tasks=False))
        self.page = page
        self.desk = HastyDesk(holdings, Judge(1, 1, 1), Hooks([]), page, namespace, None)
        self.ended: list[tuple[Job, Verdict]] = []
        self.desk.submit = lambda one, verdict: self.ended.append((one, verdict))
        self.threads = ThreadRunner(self.desk, 2, self.loop)
        self.asyncs = LoopRunner(self.desk, 2, self.loop, first_slot=2)

    def run(self, function: Callable[..., Any], **options: Any) -> Job:
        """Have a function run where it belongs."""
        gauge = Gauge(app.task(name=f"tests.{id(function)}.{time.monotonic_ns()}", **options)(function))
        one = job(gauge)
        (self.asyncs if one.task.is_async else self.threads).offer([one])
        return one

    def kinds(self, count: int) -> list[Kind]:
        wait_until(lambda: len(self.ended) >= count, message=lambda: f"{count} ends, there are {self.ended}")
        return [verdict.kind for _, verdict in self.ended]

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def shop() -> Iterator[Shop]:
    page = Page(slots=4)
    shop = Shop(page)
    yield shop
    shop.close()
    page.close()


def runs_of(ran: list[int], is_async: bool) -> Callable[[], None] | Callable[[], Coroutine[Any, Any, None]]:
    def sync() -> None:
        ran.append(1)

    async def on_loop() -> None:
        ran.append(1)

    return on_loop if is_async else sync


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_cancel_between_the_admission_and_the_start_is_heeded(shop: Shop, is_async: bool) -> None:
    ran: list[int] = []
    shop.desk.hasty = True
    shop.run(runs_of(ran, is_async))
    assert shop.kinds(1) == [Kind.CANCELLED]
    assert ran == []
    shop.desk.hasty = False
    shop.run(runs_of(ran, is_async))
    assert shop.kinds(2) == [Kind.CANCELLED, Kind.SUCCEEDED]
    assert shop.page.running() == []


def started(one: Job) -> bool:
    return one.started > 0


def test_an_interrupt_strikes_the_task_that_was_meant_and_not_the_next(shop: Shop) -> None:
    """Again and again at the very end of a task, where it may come too late for it."""
    after: list[BaseException] = []

    def short() -> None:
        time.sleep(0.001)

    def next_one() -> None:
        try:
            for _ in range(2_000):
                pass
        except BaseException as error:
            after.append(error)
            raise

    for round in range(60):
        one = shop.run(short, max_retries=0)
        wait_until(partial(started, one))
        shop.threads.interrupt(one, HardTimeout)
        shop.run(next_one, max_retries=0)
        shop.kinds(2 * (round + 1))
    assert after == []
    assert {verdict.kind for one, verdict in shop.ended if one.task.function is next_one} == {Kind.SUCCEEDED}


def test_a_task_that_swallows_its_interrupt_goes_on(shop: Shop) -> None:
    caught: list[str] = []

    def stubborn() -> None:
        try:
            while True:
                time.sleep(0.001)
        except CancelRequested as error:
            caught.append(type(error).__name__)

    one = shop.run(stubborn)
    wait_until(lambda: one in shop.threads.running())
    shop.threads.interrupt(one, CancelRequested)
    assert shop.kinds(1) == [Kind.SUCCEEDED]
    assert caught == ["CancelRequested"]


def test_as_many_run_at_once_as_there_are_slots(shop: Shop) -> None:
    gate = threading.Event()

    def hold() -> None:
        gate.wait(10)

    for _ in range(5):
        shop.run(hold)
    wait_until(lambda: len(shop.threads.running()) == 2)
    at_once = len(shop.page.running())
    assert len(shop.threads.waiting) == 3
    gate.set()
    assert shop.kinds(5) == [Kind.SUCCEEDED] * 5
    assert at_once == 2
    assert shop.page.running() == []


def test_jobs_on_the_loop_wait_for_a_slot_and_no_longer(shop: Shop) -> None:
    async def short() -> None:
        await asyncio.sleep(0.01)

    for _ in range(20):
        shop.run(short)
    assert shop.kinds(20) == [Kind.SUCCEEDED] * 20
    assert shop.page.running() == []


def test_the_first_steps_of_others_are_no_part_of_a_job_s_time(shop: Shop) -> None:
    """Else what a task takes here would seem to grow with the slots, and less would be fetched ahead."""
    kill_at: list[int] = []

    async def hog() -> None:
        time.sleep(0.05)  # noqa: ASYNC251 - it holds up the loop on purpose

    async def short() -> None:
        kill_at.extend(running.kill_at_ms for running in shop.page.running())

    first = job(Gauge(app.task(name="tests.hog")(hog)))
    second = job(Gauge(app.task(name="tests.short", timeout=60)(short)))
    shop.asyncs.offer([first, second])
    assert shop.kinds(2) == [Kind.SUCCEEDED] * 2
    took = {one: verdict.took for one, verdict in shop.ended}
    assert took[first] >= 0.05 > took[second]
    assert kill_at == [kill_at_ms(second)]


def test_no_timeout_runs_before_a_job_s_first_step(shop: Shop) -> None:
    """Who waits for a loop that a neighbour holds up is not interrupted, and nobody is killed for it."""
    held = threading.Event()

    async def hog() -> None:
        held.wait(10)

    async def short() -> None:
        await asyncio.sleep(0)

    first = job(Gauge(app.task(name="tests.holds_up")(hog)))
    second = job(Gauge(app.task(name="tests.held_up", timeout=0.05)(short)))
    timeouts = Timeouts(shop.threads, shop.asyncs)
    shop.asyncs.offer([first, second])
    wait_until(lambda: len(shop.page.running()) == 2 and first.slot >= 0, message="the hog to run")

    timeouts.look(time.monotonic() + 1)
    notes = {running.kill_at_ms for running in shop.page.running()}
    held.set()

    assert notes == {0, kill_at_ms(first)}
    assert shop.kinds(2) == [Kind.SUCCEEDED] * 2
    assert not second.timed_out
