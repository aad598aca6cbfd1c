"""When a task that failed runs again: the policy, and what a task raises to decide it by itself."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from taskq.clock import Duration, to_ms
from taskq.errors import ArgumentMismatch, BlockingInTask, NotEncodable

_LONGEST_WISH_MS = 86_400_000


class Retry(Exception):  # a signal, no error
    """Raise it in a task to run again, after `delay` or the policy's own. It counts as a failure.

    `raise Retry(delay="5m") from error` keeps the cause in the log.
    """

    def __init__(self, delay: Duration | None = None) -> None:
        super().__init__("again" if delay is None else f"again after {delay}")
        self.delay_ms = None if delay is None else to_ms(delay)


class Reject(Exception):  # a signal, no error
    """Raise it in a task that can never succeed: it fails at once, without retries, and is dead-lettered."""

    def __init__(self, reason: str = "rejected") -> None:
        super().__init__(reason)
        self.reason = reason


Errors = type[BaseException] | tuple[type[BaseException], ...]
_HOPELESS = (Reject, ArgumentMismatch, NotEncodable, BlockingInTask)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often a failed task is retried, and after what delay.

    The delay grows with each failure, up to a cap, and is drawn between zero and that ("full jitter"), so
    that what failed together does not come back together: AWS, "Exponential Backoff And Jitter",
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
    """

    max_retries: int = 5
    """Runs after the first one. 0: it runs once."""

    delay: Duration = 1
    """The bound of the first delay."""

    factor: float = 2
    """What the bound is multiplied with at each failure."""

    cap: Duration = "10m"
    """The bound that is never passed."""

    jitter: bool = True
    """False: the delay is the bound itself."""

    retry_for: Errors = ()
    """Only these errors are retried; all are, if it is empty."""

    no_retry_for: Errors = ()
    """These errors are not retried, whatever `retry_for` says."""

    def __post_init__(self) -> None:
        to_ms(self.delay)
        to_ms(self.cap)
        if not isinstance(self.max_retries, int) or self.max_retries < 0:
            raise ValueError(f"max_retries={self.max_retries!r}: it counts the runs after the first one")
        if not 1 <= self.factor <= 100:
            raise ValueError(f"factor={self.factor}: it must be between 1 and 100")

    def next_delay_ms(
        self, error: BaseException, failures: int, max_retries: int | None = None
    ) -> int | None:
        """Say in how many ms a task that just raised `error` runs again; None if it does not.

        `failures` counts those before this one, `max_retries` is what the call was given in place of the
        policy's. A delay that the error asks for counts more than ours: `Retry(delay=)`; or the Retry-After
        of an HTTP response (RFC 9110, 10.2.3), as the error's `retry_after` or its response's header, up to
        a day.
        """
        if failures >= (self.max_retries if max_retries is None else max_retries):
            return None
        if isinstance(error, Retry):
            return self._back_off_ms(failures) if error.delay_ms is None else error.delay_ms
        if isinstance(error, (_HOPELESS, self.no_retry_for)):
            return None
        if self.retry_for != () and not isinstance(error, self.retry_for):
            return None
        wish_ms = _retry_after_ms(error)
        return self._back_off_ms(failures) if wish_ms is None else wish_ms

    def _back_off_ms(self, failures: int) -> int:
        bound = min(to_ms(self.cap), to_ms(self.delay) * self.factor ** min(failures, 100))
        return round(random.uniform(0, bound) if self.jitter else bound)


def _retry_after_ms(error: BaseException) -> int | None:
    """Read what the error asks for; it is a stranger's object, so nothing it does counts as our failure."""
    try:
        wish: Any = getattr(error, "retry_after", None)
        if wish is None:
            headers: Any = getattr(getattr(error, "response", None), "headers", None)
            wish = headers.get("Retry-After") if headers else None
        seconds = _seconds(wish)
        return None if seconds is None else round(min(max(seconds, 0) * 1_000, _LONGEST_WISH_MS))
    except Exception:  # noqa: BLE001
        return None


def _seconds(wish: Any) -> float | None:
    if isinstance(wish, timedelta):
        return wish.total_seconds()
    if isinstance(wish, (int, float)):
        return wish
    if isinstance(wish, str) and wish:
        if wish.strip().isdigit():
            return float(wish)
        from email.utils import parsedate_to_datetime

        return parsedate_to_datetime(wish).timestamp() - time.time()
    return None
