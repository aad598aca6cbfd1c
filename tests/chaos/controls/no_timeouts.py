"""A worker that waits for the server for ever, as redis-py's default `socket_timeout=None` has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskq.worker import link
from tests.chaos.patching import replace

HOUR_S = 3_600.0


def apply() -> None:
    replace(link, "connect", _patient)


def _patient(connect: Callable[..., Any]) -> Callable[..., Any]:
    def patient(url: Any, timeout: float) -> Any:
        return connect(url, max(timeout, HOUR_S))

    return patient
