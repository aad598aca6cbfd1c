"""What becomes of a task that returned or raised, and what is stored of it."""

from __future__ import annotations

import asyncio

import pytest

from taskq import Reject, Retry, RetryPolicy, SoftTimeout
from taskq.broker.commands.working import Kind
from taskq.errors import ArgumentMismatch, BadMessage, NotEncodable
from taskq.record import Outcome, parse_record
from taskq.worker.verdict import CancelRequested, HardTimeout, Judge, Verdict, remote_error
from tests.jobs import gauge, job

JUDGE = Judge(result_ttl_ms=600_000, dedupe_ttl_ms=120_000, dead_ttl_ms=1_000_000)
POLICY = RetryPolicy(max_retries=2, delay=3, factor=2, jitter=False)


def stored(verdict: Verdict) -> Outcome:
    """What the record says once this is committed."""
    outcome = parse_record(f"{verdict.kind.value}|1|p|".encode() + verdict.outcome).outcome
    assert outcome is not None
    return outcome


def test_a_success_stores_the_result_and_when_and_where_it_ran() -> None:
    one = job(failures=1, crashes=1)
    verdict = JUDGE.succeeded(one, b"result", 5, 1.5)
    assert (verdict.kind, verdict.ms, verdict.still_runs) == (Kind.SUCCEEDED, 600_000, False)
    assert stored(verdict) == Outcome(5, 1_500.0, 3, b"result", None, one.task.name, "p")


@pytest.mark.parametrize(
    ("of_task", "of_call", "ttl", "kept"),
    [
        (None, None, 600_000, True),
        (180, None, 180_000, True),
        (180, 240_000, 240_000, True),
        (60, None, 120_000, True),  # the id is known for as long as a repeat may come
        (0, None, 120_000, False),
        (180, 0, 120_000, False),
        (0, 240_000, 240_000, True),
    ],
)
def test_the_call_says_how_long_a_result_is_kept_else_the_task_else_the_app(
    of_task: int | None, of_call: int | None, ttl: int, kept: bool
) -> None:
    one = job(gauge(result_ttl=of_task), result_ttl_ms=of_call)
    verdict = JUDGE.succeeded(one, b"result", 0, 0.0)
    assert verdict.ms == ttl
    assert (stored(verdict).result is not None) == kept


def test_what_raised_runs_again_after_the_delay_of_its_policy() -> None:
    one = gauge(retry=POLICY)
    delays = [JUDGE.raised(job(one, failures=failures), ValueError(), 0, 0.0) for failures in (0, 1)]
    assert [(verdict.kind, verdict.ms) for verdict in delays] == [(Kind.RETRY, 3_000), (Kind.RETRY, 6_000)]


def test_what_has_no_retry_left_fails_for_good_and_says_why() -> None:
    verdict = JUDGE.raised(job(gauge(retry=POLICY), failures=2), ValueError("the end"), 7, 0.25)
    outcome = stored(verdict)
    assert (verdict.kind, verdict.ms) == (Kind.FAILED, 1_000_000)
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == ("ValueError", "the end")
    assert (outcome.started_ms, outcome.took_ms, outcome.attempt) == (7, 250.0, 3)


def test_crashes_use_up_no_retries() -> None:
    assert JUDGE.raised(job(gauge(retry=POLICY), crashes=2), ValueError(), 0, 0.0).kind is Kind.RETRY


@pytest.mark.parametrize(
    "error",
    [Reject("no"), ArgumentMismatch("x"), NotEncodable("x"), BadMessage("x")],
    ids=lambda e: type(e).__name__,
)
def test_what_another_run_cannot_mend_is_not_retried(error: Exception) -> None:
    assert JUDGE.raised(job(), error, 0, 0.0).kind is Kind.FAILED


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), SoftTimeout("late")])
def test_whatever_a_task_raises_is_its_failure(error: BaseException) -> None:
    assert JUDGE.raised(job(), error, 0, 0.0).kind is Kind.RETRY
    assert JUDGE.raised(job(max_retries=0), error, 0, 0.0).kind is Kind.FAILED


def test_a_retry_has_its_own_delay_and_its_cause_is_what_is_stored_in_the_end() -> None:
    error = Retry(delay=9)
    error.__cause__ = KeyError("deeper")
    again = JUDGE.raised(job(gauge(retry=POLICY)), error, 0, 0.0)
    last = JUDGE.raised(job(gauge(retry=POLICY), failures=2), error, 0, 0.0)
    assert (again.kind, again.ms) == (Kind.RETRY, 9_000)
    stored_error = stored(last).error
    assert stored_error is not None
    assert stored_error.type == "KeyError"


def test_a_hard_timeout_is_a_failure_that_names_the_timeout() -> None:
    verdict = JUDGE.raised(job(gauge(timeout=1.5, max_retries=0)), HardTimeout(), 0, 1.5)
    error = stored(verdict).error
    assert error is not None
    assert "did not end within its timeout of 1.5 s" in error.message
    assert JUDGE.raised(job(gauge(timeout=1.5)), HardTimeout(), 0, 1.5).kind is Kind.RETRY


@pytest.mark.parametrize("error", [CancelRequested(), asyncio.CancelledError(), HardTimeout()])
def test_a_cancelled_task_that_was_interrupted_is_cancelled(error: BaseException) -> None:
    one = job()
    one.cancelled = True
    assert JUDGE.raised(one, error, 0, 0.0).kind is Kind.CANCELLED


def test_an_interrupt_without_a_cancel_is_a_failure() -> None:
    assert JUDGE.raised(job(max_retries=0), CancelRequested(), 0, 0.0).kind is Kind.FAILED


def test_words_are_what_settle_takes() -> None:
    one = job()
    verdict = Verdict(Kind.RETRY, 42, 1.2346, b"x")
    assert verdict.words(one) == (one.id, one.g, "R", 42, one.task.name, 1235, b"x")


@pytest.mark.parametrize("kind", Kind)
def test_the_words_of_a_task_that_keeps_its_message_say_so_where_it_ended(kind: Kind) -> None:
    ended = kind in (Kind.SUCCEEDED, Kind.CANCELLED, Kind.EXPIRED)
    words = Verdict(kind).words(job(gauge(keep_message=True)))
    assert words[2] == (kind.value.lower() if ended else kind.value)


def test_bytes_that_nobody_can_read_are_dead_lettered() -> None:
    id, g, kind, ms, task, took_ms, outcome = JUDGE.unreadable("a", 7, ValueError("no"))
    assert (id, g, kind, ms, task, took_ms) == ("a", 7, "Q", 1_000_000, "-", 0)
    assert outcome


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\ud800 lone", "é" * 20_000])
def test_an_error_is_stored_as_text_that_has_a_bound(text: str) -> None:
    error = remote_error(ValueError(text))
    assert len(error.message) < 20_000
    error.message.encode()


def test_an_error_that_was_never_raised_and_one_without_a_text_are_stored_too() -> None:
    assert remote_error(_Mute()).message == "<_Mute whose text cannot be made>"
    assert remote_error(ValueError("quiet")).traceback == ""
    assert remote_error(_Mute()).type.endswith("test_worker_verdict._Mute")
