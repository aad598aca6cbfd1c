"""When a running task is interrupted, and how often that is looked at."""

from __future__ import annotations

import asyncio

import pytest

from taskq import SoftTimeout
from taskq.worker.job import Job
from taskq.worker.timeouts import KILL_AFTER_S, Timeouts, kill_at_ms
from taskq.worker.verdict import CancelRequested, HardTimeout
from tests.jobs import FakeRunner, gauge, job


@pytest.fixture
def threads() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def loop() -> FakeRunner:
    return FakeRunner()


@pytest.fixture
def timeouts(threads: FakeRunner, loop: FakeRunner) -> Timeouts:
    return Timeouts(threads, loop)


def run(timeouts: Timeouts, runner: FakeRunner, one: Job, at: float = 100.0) -> Job:
    timeouts.expect([one])
    runner.offer([one])
    return runner.begin(at)


def test_a_soft_timeout_is_raised_once_and_the_hard_one_after_it(
    timeouts: Timeouts, threads: FakeRunner
) -> None:
    one = run(timeouts, threads, job(gauge(soft_timeout=1, timeout=2)))

    for tenths in range(1, 31):
        timeouts.check(100 + tenths / 10)

    assert threads.interrupts == [(one, SoftTimeout), (one, HardTimeout)]
    assert one.timed_out


def test_neither_comes_early(timeouts: Timeouts, threads: FakeRunner) -> None:
    run(timeouts, threads, job(gauge(soft_timeout=1, timeout=2)))
    timeouts.check(100.99)
    assert threads.interrupts == []
    timeouts.check(101.99)
    assert [error for _, error in threads.interrupts] == [SoftTimeout]


def test_a_call_may_have_its_own_timeout(timeouts: Timeouts, loop: FakeRunner) -> None:
    one = run(timeouts, loop, job(gauge(timeout=60, is_async=True), timeout_ms=500))
    timeouts.check(100.5)
    assert loop.interrupts == [(one, HardTimeout)]


def test_without_a_timeout_nothing_is_raised_and_nothing_killed(
    timeouts: Timeouts, threads: FakeRunner
) -> None:
    one = run(timeouts, threads, job(gauge(timeout=None)))
    timeouts.check(1_000_000.0)
    assert threads.interrupts == []
    assert kill_at_ms(one) == 0


def test_a_call_may_ask_for_no_timeout(timeouts: Timeouts, threads: FakeRunner) -> None:
    one = run(timeouts, threads, job(gauge(timeout=60), timeout_ms=0))
    timeouts.check(1_000_000.0)
    assert threads.interrupts == []
    assert kill_at_ms(one) == 0


def test_a_process_is_killed_a_while_after_the_hard_timeout(timeouts: Timeouts, threads: FakeRunner) -> None:
    one = run(timeouts, threads, job(gauge(timeout=2)), at=100.0)
    assert kill_at_ms(one) == 102_000 + KILL_AFTER_S * 1_000


def test_it_looks_as_often_as_the_shortest_timeout_needs(timeouts: Timeouts, threads: FakeRunner) -> None:
    run(timeouts, threads, job(gauge(timeout=60)))
    timeouts.check(100.0)
    assert timeouts.next_check(100.0, most=5.0) == pytest.approx(1.0)
    run(timeouts, threads, job(gauge(soft_timeout=0.4, timeout=60)))
    assert timeouts.next_check(100.0, most=5.0) == pytest.approx(0.1)


def test_it_need_not_look_while_nothing_runs(timeouts: Timeouts) -> None:
    timeouts.check(100.0)
    assert timeouts.next_check(100.0, most=5.0) == 5.0


def test_a_task_that_starts_after_a_look_at_nothing_keeps_its_pace(
    timeouts: Timeouts, threads: FakeRunner
) -> None:
    """A thread has taken it from the deque and not noted it yet: for a moment it neither waits nor runs."""
    one = job(gauge(soft_timeout=0.4, timeout=60))
    timeouts.expect([one])
    timeouts.check(100.0)
    threads.offer([one])
    threads.begin(100.0)

    assert timeouts.next_check(100.0, most=5.0) == pytest.approx(0.1)


def test_the_pace_is_given_up_when_nothing_has_run_for_a_while(
    timeouts: Timeouts, threads: FakeRunner
) -> None:
    one = run(timeouts, threads, job(gauge(timeout=0.4)))
    threads.end(one, lambda: None)
    for tenths in range(1, 30):
        timeouts.check(100 + tenths / 10)
    timeouts.check(105.0)
    run(timeouts, threads, job(gauge(timeout=60)), at=105.0)

    assert timeouts.next_check(105.0, most=5.0) == pytest.approx(1.0)


def test_a_cancel_is_raised_in_the_form_that_fits(
    timeouts: Timeouts, threads: FakeRunner, loop: FakeRunner
) -> None:
    sync = run(timeouts, threads, job())
    on_loop = run(timeouts, loop, job(gauge(is_async=True)))
    waits = job()
    threads.offer([waits])

    for one in (sync, on_loop, waits):
        timeouts.cancel(one)

    assert threads.interrupts == [(sync, CancelRequested)]
    assert loop.interrupts == [(on_loop, asyncio.CancelledError)]
