"""Whether a job may start: what forbids it is looked at after its start was noted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskq.broker.commands.working import Kind
from taskq.broker.namespace import Namespace
from taskq.middleware import Hooks
from taskq.worker.desk import Desk
from taskq.worker.holdings import Holdings
from taskq.worker.job import Job
from taskq.worker.ledger import Ledger
from taskq.worker.prefetch import Prefetch
from taskq.worker.testimony import Testimony as Page
from taskq.worker.verdict import Judge, Verdict
from tests.jobs import gauge, job

REDIS_MS = 1_700_000_000_000


class Counter:
    """A desk, and what was reported there."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.holdings = Holdings(Prefetch(4), Ledger(log_tasks=False))
        namespace = Namespace("tests", 1)
        namespace.hear(REDIS_MS)
        self.desk = Desk(self.holdings, Judge(1, 1, 1), Hooks([]), page, namespace, None)
        self.reports: list[tuple[Job, Kind]] = []
        self.desk.submit = self._report

    def _report(self, one: Job, verdict: Verdict) -> None:
        self.reports.append((one, verdict.kind))


@pytest.fixture
def counter() -> Iterator[Counter]:
    page = Page(slots=4)
    yield Counter(page)
    page.close()


def test_a_job_that_may_start_is_noted(counter: Counter) -> None:
    one = job(gauge(timeout=2))
    assert counter.desk.admit(one, 3)
    [running] = counter.page.running()
    assert running.g == one.g
    assert running.kill_at_ms > 0
    assert (one.slot, counter.reports) == (3, [])
    assert counter.desk.leave(one, 3) >= 0
    assert counter.page.running() == []
    assert one.gauge.runs == 1


def test_a_job_may_be_killed_as_late_as_the_worker_was_told() -> None:
    page = Page(slots=1)
    holdings, namespace = Holdings(Prefetch(1), Ledger(log_tasks=False)), Namespace("tests", 1)
    desk = Desk(holdings, Judge(1, 1, 1), Hooks([]), page, namespace, None, kill_after_s=7)
    one = job(gauge(timeout=2))

    assert desk.admit(one, 0)
    assert page.running()[0].kill_at_ms == int((one.started + 7) * 1_000) + 2_000
    page.close()


def test_others_may_keep_the_time_of_a_job(counter: Counter) -> None:
    one, endless = job(gauge(timeout=2)), job(gauge(timeout=None))
    for slot, each in enumerate((one, endless)):
        assert counter.desk.admit(each, slot, begins=False)
        counter.desk.leave_time_to_others(each, slot, 10)

    assert one.slot == -1, "nobody here is to interrupt it"
    kill_at = int((one.started + 3 + 10) * 1_000) + 2_000
    assert [running.kill_at_ms for running in counter.page.running()] == [kill_at, 0]


def refused(counter: Counter, one: Job) -> list[Kind]:
    assert not counter.desk.admit(one, 0)
    assert one.started == 0
    assert counter.page.running() == []
    return [kind for reported, kind in counter.reports if reported is one]


def test_a_job_of_an_older_epoch_does_not_start(counter: Counter) -> None:
    one = job()
    counter.holdings.epoch += 1
    assert refused(counter, one) == [Kind.RELEASED]


def test_nothing_that_the_supervisor_has_revoked_starts_not_the_second_either(counter: Counter) -> None:
    """The engine stands still, so the epoch is the old one; threads meet one revoked job after the other."""
    first, second = job(), job()
    counter.page.revoke()
    assert refused(counter, first) == [Kind.RELEASED]
    assert refused(counter, second) == [Kind.RELEASED]


def test_a_refusal_for_another_reason_forgives_no_revocation(counter: Counter) -> None:
    cancelled, revoked = job(), job()
    cancelled.cancelled = True
    assert refused(counter, cancelled) == [Kind.CANCELLED]
    counter.page.revoke()
    assert refused(counter, revoked) == [Kind.RELEASED]


def test_once_the_engine_has_heeded_a_revocation_new_jobs_start(counter: Counter) -> None:
    counter.page.revoke()
    counter.holdings.epoch += 1
    counter.holdings.revoked = counter.page.revoked()
    assert counter.desk.admit(job(epoch=1), 0)


def test_a_cancelled_job_does_not_start(counter: Counter) -> None:
    one = job()
    one.cancelled = True
    assert refused(counter, one) == [Kind.CANCELLED]


@pytest.mark.parametrize(
    ("expires_ms", "starts"), [(REDIS_MS - 1, False), (REDIS_MS + 60_000, True), (0, True)]
)
def test_an_expired_job_does_not_start(counter: Counter, expires_ms: int, starts: bool) -> None:
    one = job(expires_ms=expires_ms)
    if starts:
        assert counter.desk.admit(one, 0)
    else:
        assert refused(counter, one) == [Kind.EXPIRED]


def test_a_job_that_was_settled_at_its_start_starts_whatever_became_of_the_claim(counter: Counter) -> None:
    one = job(gauge(ack="early"))
    one.outcome_given = True
    counter.holdings.epoch += 1
    counter.page.revoke()
    assert counter.desk.admit(one, 0)


def test_a_manual_task_must_have_said_something(counter: Counter) -> None:
    said, silent = job(gauge(ack="manual", max_retries=0)), job(gauge(ack="manual", max_retries=0))
    said.outcome_given = True
    assert counter.desk.returned(said, None, 0.0).kind is Kind.SUCCEEDED
    assert counter.desk.returned(silent, None, 0.0).kind is Kind.FAILED
