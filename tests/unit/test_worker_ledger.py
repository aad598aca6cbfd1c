"""What a worker's log says of settled tasks."""

from __future__ import annotations

import logging

import pytest

from taskq.broker.commands.working import Answer, Kind
from taskq.worker.ledger import Ledger
from taskq.worker.verdict import Verdict
from tests.jobs import gauge, job


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="taskq.worker")


def settle(ledger: Ledger, *kinds: Kind, answer: Answer = Answer.COMMITTED, took: float = 0.001) -> None:
    of = gauge()
    ledger.settle([(job(of), Verdict(kind, took=took)) for kind in kinds], [answer] * len(kinds))


def test_successes_share_a_line_that_names_the_slowest(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(log_tasks=False)
    settle(ledger, *[Kind.SUCCEEDED] * 100)
    settle(ledger, Kind.SUCCEEDED, took=1.5)
    ledger.say(at_once=True)

    text = "\n".join(caplog.messages)
    assert sum(int(line.split()[0]) for line in caplog.messages) == 101
    assert "in 1500.0 ms" in text
    assert len(caplog.messages) <= 2


def test_nothing_is_said_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(log_tasks=False)
    ledger.say(at_once=True)
    settle(ledger, Kind.RELEASED)
    ledger.say(at_once=True)
    assert caplog.messages == []


def test_batches_that_come_fast_do_not_have_a_line_each(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(log_tasks=False)
    for _ in range(200):
        settle(ledger, Kind.SUCCEEDED)
    assert len(caplog.messages) <= 2


def test_a_line_a_task_if_that_is_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(log_tasks=True)
    settle(ledger, *[Kind.SUCCEEDED] * 3)
    ledger.say(at_once=True)
    assert len(caplog.messages) == 3
    assert all(line.endswith("succeeded in 1.0 ms") for line in caplog.messages)


def test_all_but_releases_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(log_tasks=False)
    settle(ledger, Kind.SUCCEEDED, Kind.RETRY, Kind.FAILED, Kind.RELEASED, Kind.CANCELLED)
    settle(ledger, Kind.SUCCEEDED, answer=Answer.ALREADY)
    assert ledger.settled == 5


@pytest.mark.parametrize("answer", [Answer.ALREADY, Answer.LOST, Answer.GONE])
def test_what_was_not_committed_here_and_now_is_no_success(
    caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    ledger = Ledger(log_tasks=True)
    settle(ledger, Kind.SUCCEEDED, answer=answer)
    ledger.say(at_once=True)
    assert caplog.messages == []


def test_a_cancel_and_an_expiry_have_a_line(caplog: pytest.LogCaptureFixture) -> None:
    settle(Ledger(log_tasks=False), Kind.CANCELLED, Kind.EXPIRED)
    assert [line.split()[-1] for line in caplog.messages] == ["cancelled", "expired"]


def test_a_loss_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    one = job()
    Ledger(log_tasks=False).lost(one)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert one.id in record.getMessage()
