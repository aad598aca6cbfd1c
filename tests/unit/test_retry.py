from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import pytest

from taskq import ArgumentMismatch, Reject, Retry, RetryPolicy
from taskq.errors import BlockingInTask, NotEncodable

PLAIN = RetryPolicy(jitter=False)


def test_delays_grow_by_the_factor_up_to_the_cap() -> None:
    policy = RetryPolicy(max_retries=9, delay=1, factor=3, cap="1m", jitter=False)
    assert [policy.next_delay_ms(OSError(), n) for n in range(6)] == [
        1_000,
        3_000,
        9_000,
        27_000,
        60_000,
        60_000,
    ]


def test_the_default_is_five_retries_within_a_second_to_ten_minutes() -> None:
    policy = RetryPolicy()
    for failures in range(5):
        delay_ms = policy.next_delay_ms(OSError(), failures)
        assert delay_ms is not None
        assert 0 <= delay_ms <= 1_000 * 2**failures
    assert policy.next_delay_ms(OSError(), 5) is None


def test_jitter_spreads_over_the_whole_range() -> None:
    delays = [RetryPolicy(delay=100).next_delay_ms(OSError(), 0) or 0 for _ in range(300)]
    assert min(delays) < 20_000
    assert max(delays) > 80_000
    assert max(delays) <= 100_000


def test_many_failures_overflow_nothing() -> None:
    policy = RetryPolicy(max_retries=10_000, factor=100, jitter=False)
    assert policy.next_delay_ms(OSError(), 9_999) == 600_000


def test_a_call_has_its_own_number_of_retries() -> None:
    assert PLAIN.next_delay_ms(OSError(), 0, max_retries=0) is None
    assert PLAIN.next_delay_ms(OSError(), 7, max_retries=8) is not None
    assert RetryPolicy(max_retries=0).next_delay_ms(OSError(), 0) is None


def test_only_what_retry_for_names_is_retried() -> None:
    policy = RetryPolicy(retry_for=(OSError, KeyError), no_retry_for=FileNotFoundError)
    assert policy.next_delay_ms(ConnectionError(), 0) is not None
    assert policy.next_delay_ms(KeyError(), 0) is not None
    assert policy.next_delay_ms(ValueError(), 0) is None
    assert policy.next_delay_ms(FileNotFoundError(), 0) is None
    assert RetryPolicy(no_retry_for=ValueError).next_delay_ms(UnicodeError(), 0) is None


@pytest.mark.parametrize(
    "error", [Reject("no"), ArgumentMismatch("no"), NotEncodable("no"), BlockingInTask("no")]
)
def test_what_cannot_succeed_is_never_retried(error: Exception) -> None:
    assert RetryPolicy(retry_for=Exception).next_delay_ms(error, 0) is None


class TestRetry:
    def test_its_delay_counts_more_than_the_policy(self) -> None:
        assert RetryPolicy(retry_for=OSError).next_delay_ms(Retry("5m"), 3) == 300_000
        assert PLAIN.next_delay_ms(Retry(0), 0) == 0

    def test_without_a_delay_it_is_the_policys(self) -> None:
        assert PLAIN.next_delay_ms(Retry(), 2) == 4_000

    def test_it_counts_as_a_failure(self) -> None:
        assert PLAIN.next_delay_ms(Retry(1), 5) is None

    def test_a_bad_delay_is_refused_where_it_is_raised(self) -> None:
        with pytest.raises(ValueError, match="soon"):
            Retry("soon")


class Busy(Exception):
    def __init__(self, retry_after: Any = None, headers: Any = None) -> None:
        if retry_after is not None:
            self.retry_after = retry_after
        if headers is not None:
            self.response = SimpleNamespace(headers=headers)


class Sly(Exception):
    @property
    def retry_after(self) -> float:
        raise RuntimeError("no such thing")


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("error", "delay_ms"),
        [
            (Busy(7), 7_000),
            (Busy(0.5), 500),
            (Busy("7"), 7_000),
            (Busy(timedelta(minutes=1)), 60_000),
            (Busy(headers={"Retry-After": "120"}), 120_000),
            (Busy(headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 0),
            (Busy(-5), 0),
            (Busy("400000"), 86_400_000),
        ],
    )
    def test_what_an_error_asks_for_is_the_delay(self, error: Exception, delay_ms: int) -> None:
        assert PLAIN.next_delay_ms(error, 0) == delay_ms

    def test_a_date_is_a_delay_from_now(self) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
        delay_ms = PLAIN.next_delay_ms(Busy(headers={"Retry-After": date}), 0)
        assert delay_ms is not None
        assert 50_000 < delay_ms <= 60_000

    @pytest.mark.parametrize(
        "error",
        [
            Busy("soon"),
            Busy(headers={}),
            Busy(headers={"Retry-After": ""}),
            Busy(headers=7),
            Busy(float("nan")),
            Sly(),
        ],
    )
    def test_what_cannot_be_read_leaves_it_to_the_policy(self, error: Exception) -> None:
        assert PLAIN.next_delay_ms(error, 1) == 2_000

    def test_it_does_not_add_retries(self) -> None:
        assert PLAIN.next_delay_ms(Busy(7), 5) is None
        assert RetryPolicy(retry_for=OSError).next_delay_ms(Busy(7), 0) is None


@pytest.mark.parametrize(
    "fields",
    [{"max_retries": -1}, {"delay": "x"}, {"delay": -1}, {"cap": "x"}, {"factor": 0.5}, {"factor": 1e9}],
)
def test_a_policy_that_cannot_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        RetryPolicy(**fields)
