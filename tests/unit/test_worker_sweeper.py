"""Who is taken for dead: by beat counters on our own clock, whatever Redis's clock does."""

from __future__ import annotations

from typing import cast

import pytest

from taskq.broker.client import Broker
from taskq.worker.sweeper import Sweeper


class _Nowhere:
    """A broker that is never asked."""

    keys = (None,)


@pytest.fixture
def sweeper() -> Sweeper:
    return Sweeper(cast("Broker", _Nowhere()), lease_ms=10_000, queues=["default"])


def test_a_counter_that_has_not_moved_for_a_lease_stood_still(sweeper: Sweeper) -> None:
    assert sweeper.stood_still({"p": 5}, 100.0) == {}
    assert sweeper.stood_still({"p": 5}, 110.0) == {}
    assert sweeper.stood_still({"p": 5}, 110.1) == {"p": 5}


def test_a_counter_that_moves_did_not(sweeper: Sweeper) -> None:
    for second in range(100):
        assert sweeper.stood_still({"p": second // 9}, 100.0 + second) == {}


def test_any_other_value_is_a_movement_a_lower_one_too(sweeper: Sweeper) -> None:
    sweeper.stood_still({"p": 5}, 100.0)
    assert sweeper.stood_still({"p": 1}, 110.1) == {}
    assert sweeper.stood_still({"p": 1}, 120.2) == {"p": 1}


def test_a_process_that_has_just_come_has_its_lease(sweeper: Sweeper) -> None:
    sweeper.stood_still({"old": 1}, 100.0)
    assert sweeper.stood_still({"old": 1, "new": 1}, 110.1) == {"old": 1}
    assert sweeper.stood_still({"old": 1, "new": 1}, 120.2) == {"old": 1, "new": 1}


def test_a_process_that_went_and_came_back_has_its_lease_again(sweeper: Sweeper) -> None:
    sweeper.stood_still({"p": 1}, 100.0)
    sweeper.stood_still({}, 105.0)
    assert sweeper.stood_still({"p": 1}, 110.1) == {}


@pytest.mark.parametrize(("lease_ms", "seconds"), [(30_000, 5.0), (6_000, 1.0), (1_000, 0.25)])
def test_it_sweeps_several_times_a_lease(lease_ms: int, seconds: float) -> None:
    sweeper = Sweeper(cast("Broker", _Nowhere()), lease_ms, [])
    assert sweeper.every_s == pytest.approx(seconds)
