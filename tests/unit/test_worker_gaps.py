"""What a process gives back once it stood still, or was taken to."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from taskq.worker import testimony
from taskq.worker.gaps import Gaps
from taskq.worker.holdings import Holdings
from taskq.worker.ledger import Ledger
from taskq.worker.prefetch import Prefetch
from taskq.worker.timeouts import Timeouts
from tests.jobs import FakeRunner, job

LEASE_S = 2.0


class Child:
    """What a process holds: one job that runs, and one that waits."""

    def __init__(self) -> None:
        runner = FakeRunner()
        self.page = testimony.Testimony(1)
        self.holdings = Holdings(Prefetch(4), Ledger(False))
        self.holdings.attach(runner, runner, Timeouts(runner, runner), lambda _job, _verdict: None)
        self.gaps = Gaps(LEASE_S, self.holdings, self.page)
        self.now = time.monotonic()
        self.runs, self.waits = job(), job()
        self.holdings.take([self.runs, self.waits])
        runner.begin()

    def gave_back(self, after_s: float) -> bool:
        """Look again after so many seconds; true if what waits went back."""
        self.now += after_s
        self.gaps.look(self.now)
        self.holdings.collect("p")
        assert {sent for sent, _ in self.holdings.sent} <= {self.waits}
        return bool(self.holdings.sent)


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.page.close()


def test_turns_that_follow_each_other_soon_are_no_gap(child: Child) -> None:
    assert not any(child.gave_back(0.4 * LEASE_S) for _ in range(10))
    assert not child.gaps.found


def test_after_more_than_half_a_lease_what_waits_goes_back(child: Child) -> None:
    assert child.gave_back(0.6 * LEASE_S)
    assert child.gaps.found


def test_and_so_it_does_once_the_supervisor_has_returned_it(child: Child) -> None:
    child.page.revoke()
    assert child.gave_back(0)
    assert child.gaps.found
    assert child.holdings.revoked == child.page.revoked()
    child.gaps.found = False
    child.gave_back(0)
    assert not child.gaps.found
