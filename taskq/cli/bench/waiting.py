"""Round trips: a bare PING, and a task for a worker that has nothing to do."""

from __future__ import annotations

import random
import time
from typing import Any

from taskq.broker.connect import ServerURL, raw_connection
from taskq.broker.faults import DRIVER_ERRORS, classify
from taskq.cli.bench.measured import Idle
from taskq.cli.bench.tasks import stamp
from taskq.cli.trial.durations import Milliseconds, percentiles

_WARM_UP = 5
_LEAST = 20
"""Round trips that are made however long they take."""
_TIMEOUT_S = 10.0


def ping(url: ServerURL, seconds: float) -> Milliseconds:
    """Send PING for that long on a connection of its own, without pool, locks or scripts.

    Raises:
        BrokerError: the server does not answer.
    """
    found: list[float] = []
    try:
        connection: Any = raw_connection(url, timeout=_TIMEOUT_S)  # typed poorly in redis-py
        try:
            until = time.perf_counter() + seconds
            while (began := time.perf_counter()) < until or len(found) < _LEAST + _WARM_UP:
                connection.send_command("PING")
                connection.read_response()
                found.append((time.perf_counter() - began) * 1_000)
        finally:
            connection.disconnect()
    except DRIVER_ERRORS as error:
        raise classify(error, url.masked).error from error
    return percentiles(found[_WARM_UP:])


def idle(trips: int, seconds: float) -> Idle:
    """Enqueue a task and wait for its result, again and again, each time to a worker that waits.

    Raises:
        ResultTimeout: no result has come.
        BrokerError: the server fails.
    """
    starts: list[float] = []
    results: list[float] = []
    until = time.perf_counter() + seconds
    stamp.enqueue().result(timeout=_TIMEOUT_S)  # the inbox starts with it
    while len(results) < trips and (time.perf_counter() < until or len(results) < _LEAST):
        _pause()
        began = time.monotonic_ns()
        started = stamp.enqueue().result(timeout=_TIMEOUT_S)
        ended = time.monotonic_ns()
        starts.append((started - began) / 1e6)
        results.append((ended - began) / 1e6)
    return Idle(
        trips=len(results),
        start_ms=percentiles(starts),
        result_ms=percentiles(results),
    )


def _pause() -> None:
    """Long enough for the worker to have committed, looked again, and blocked."""
    time.sleep(random.uniform(0.003, 0.006))
