"""How many tasks one claim may take."""

from __future__ import annotations

import pytest

from taskq.broker.commands.working import BATCH
from taskq.worker.job import LONG_S, Gauge
from taskq.worker.prefetch import AHEAD_BYTES, AHEAD_S, Prefetch
from tests.jobs import gauge, job


def after(*gauges: Gauge, concurrency: int = 4) -> Prefetch:
    """One that has just seen a claim of these tasks."""
    prefetch = Prefetch(concurrency)
    prefetch.took([job(one) for one in gauges])
    return prefetch


def test_before_the_first_claim_the_free_slots_are_filled() -> None:
    assert [Prefetch(4).room(held) for held in range(5)] == [4, 3, 2, 1, 0]


def test_a_task_that_never_ran_counts_as_long() -> None:
    assert after(gauge()).room(0) == 4
    assert after(gauge(0.0001), gauge()).room(1) == 3


def test_long_tasks_fill_only_free_slots() -> None:
    assert after(gauge(LONG_S * 1.1)).room(3) == 1
    assert after(gauge(LONG_S * 1.1)).room(4) == 0


@pytest.mark.parametrize(("seconds", "ahead"), [(0.02, 1), (0.005, 2), (0.001, 10), (0.0001, 100)])
def test_short_tasks_are_fetched_ahead_for_ten_milliseconds_of_one_slot(seconds: float, ahead: int) -> None:
    assert after(gauge(seconds)).room(0) == 4 + ahead
    assert ahead * seconds <= max(AHEAD_S, seconds)


def test_one_claim_takes_a_batch_at_most_and_two_are_held_ahead() -> None:
    prefetch = after(gauge(0.0))
    assert prefetch.room(0) == BATCH
    assert prefetch.room(4 + BATCH) == BATCH
    assert prefetch.room(5 + BATCH) == 0


def test_slots_that_are_seen_to_wait_side_by_side_are_fetched_for() -> None:
    prefetch = after(gauge(0.001))
    prefetch.freed(1, now=100.0)
    prefetch.freed(61, now=100.020)
    assert prefetch.room(0) == 4 + 30


def test_a_pace_of_other_tasks_counts_for_no_more_than_the_slots() -> None:
    prefetch = after(gauge(0.005))
    prefetch.freed(1, now=100.0)
    prefetch.freed(500, now=100.010)
    assert prefetch.room(0) == 4 + 4 * 2


def test_a_pace_is_forgotten_when_nothing_ends_for_a_while() -> None:
    prefetch = after(gauge(0.001))
    prefetch.freed(1, now=100.0)
    prefetch.freed(61, now=100.020)
    prefetch.freed(1, now=109.0)
    assert prefetch.room(0) == 4 + 10


def test_of_large_tasks_few_are_fetched_ahead() -> None:
    one = gauge(0.0001)
    prefetch = Prefetch(4)
    prefetch.took([job(one, args=b"x" * (AHEAD_BYTES // 2)), job(one)])
    assert prefetch.room(0) == 4 + 4
    prefetch.took([job(one, args=b"x" * 2 * AHEAD_BYTES)])
    assert prefetch.room(0) == 4 + 1


def test_the_slowest_of_the_last_claim_sets_the_number() -> None:
    assert after(gauge(0.0001), gauge(0.002)).room(0) == 4 + 5


def test_more_is_fetched_once_half_of_it_is_used_up() -> None:
    prefetch = after(gauge(0.0001))
    assert prefetch.room(55) == 0
    assert prefetch.room(54) == 50


def test_after_a_release_only_free_slots_are_filled_until_one_has_freed() -> None:
    prefetch = after(gauge(0.0001))
    prefetch.released()
    assert [prefetch.room(held) for held in (0, 4, 5)] == [4, 0, -1]
    prefetch.freed(1, now=100.0)
    assert prefetch.room(0) == 104


def test_an_empty_claim_changes_nothing() -> None:
    prefetch = after(gauge(0.0001))
    prefetch.took([])
    assert prefetch.room(0) == 104


def test_a_task_that_has_become_slow_is_noticed() -> None:
    one = gauge(0.0001)
    prefetch = after(one)
    for _ in range(30):
        one.ran(0.1)
    assert prefetch.room(4) == 0


def test_the_mean_moves_slowly() -> None:
    one = gauge(0.001)
    one.ran(0.011)
    assert one.mean == pytest.approx(0.002)
    assert one.runs == 2
