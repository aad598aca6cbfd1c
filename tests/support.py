"""What tests of every kind share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = 10, message: str | Callable[[], str] = "") -> T:
    """Call `condition` until it gives something true, and return that.

    Args:
        condition: asked at once, then again every few milliseconds.
        timeout: seconds after which the test fails.
        message: what was waited for, or a function that tells how things stand at the end.

    Raises:
        AssertionError: the time is over.
    """
    deadline = time.monotonic() + timeout
    pause = 0.001
    while not (value := condition()):
        if time.monotonic() > deadline:
            told = message if isinstance(message, str) else message()
            raise AssertionError(f"waited {timeout:g} s for {told or condition}")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return value
