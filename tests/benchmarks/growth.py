"""Growth: whether the figures hold when there is much of everything."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from taskq.broker.commands.producing import options
from tests.benchmarks.drain import judged, top
from tests.benchmarks.rows import Asked, Row, at_least, at_most
from tests.benchmarks.stand import Bench, Stand
from tests.benchmarks.tasks import empty, swallow

HOUR_MS = 3_600_000
SLOW_US = 5_000
LOOKED_AT_US, LOOKED_AT = 1_000, 100_000
"""What takes longer is in the server's slow log while the due tasks are there; so many entries are kept."""

PAYLOADS = ((100, "100 B", 20_000), (10_000, "10 KB", 10_000), (1_000_000, "1 MB", 200))


def rows(bench: Bench) -> list[Row]:
    """Many tasks, many queues, many that are due, large ones."""
    return [*_depths(bench), *_queues(bench), *_due(bench), *_payloads(bench)]


def _depths(bench: Bench) -> list[Row]:
    """Each between two runs of the ceiling: a machine that is slower for a while is not our growth."""
    found: list[Row] = []
    shares: list[float] = []
    tops = [top(bench, bench.size(100_000, 5_000))]
    with bench.stand() as stand:
        stand.worker()
        stand.drain(empty, 1_000)
        for depth in (10_000, 100_000, 1_000_000):
            count = bench.size(depth, depth // 20)
            rate = stand.drain(empty, count).rate
            tops.append(top(bench, bench.size(100_000, 5_000)))
            shares.append(2 * rate / sum(tops[-2:]))
            found.append(
                Row(f"drain of {count:,} queued", rate, "/s", note=f"{shares[-1]:.2f} of the ceiling")
            )
    name = "the least of these shares of the ceiling over the greatest"
    return judged([*found, Row(name, min(shares) / max(shares), "", at_least(0.8))], tops)


def _queues(bench: Bench) -> list[Row]:
    count = bench.size(100_000, 5_000)
    found: list[Row] = []
    tops: list[float] = []
    for number in (1, 10, 100):
        tops.append(top(bench, count))
        queues = tuple(f"queue-{at}" for at in range(number))
        with bench.stand() as stand:
            stand.worker(queues=queues)
            spent = stand.drain(empty, count, queues)
        note = f"{spent.redis_each:.1f} µs of Redis, {spent.cpu_each:.1f} µs of worker CPU a task"
        found.append(Row(f"drain of {number} queue(s)", spent.rate, "/s", note=note))
    return judged(found, tops)


def _due(bench: Bench) -> list[Row]:
    """Tasks that fall due one after the other over an hour: while they are stored, and while a worker takes them."""
    count = bench.size(1_000_000, 20_000)
    step = HOUR_MS / count
    later = [options(delay_ms=round(at * step)) for at in range(count)]
    with bench.stand() as stand:
        _watch_slow(stand)
        began = time.perf_counter()
        stand.store(empty, ["default:5"] * count, options=later)
        stored = count / (time.perf_counter() - began)
        storing = _slow(stand)
        stand.worker()
        time.sleep(bench.size(15, 1))  # the load itself: so long a worker takes what falls due
        taking = _slow(stand)
        taken = stand.succeeded()
    name = f"{count:,} tasks due over an hour: scripts over 5 ms"
    return [
        Row(f"{name} while a worker takes them", *_over(taking), f"{_worst(taking)}; {taken:,} of them ran"),
        Row(
            f"{name} while they are stored",
            *_over(storing),
            f"{_worst(storing)}; {stored:,.0f} stored a second",
        ),
    ]


def _watch_slow(stand: Stand) -> None:
    stand.server.call("CONFIG", "SET", "slowlog-log-slower-than", LOOKED_AT_US)
    stand.server.call("CONFIG", "SET", "slowlog-max-len", LOOKED_AT)
    stand.server.call("SLOWLOG", "RESET")


def _slow(stand: Stand) -> list[int]:
    """Give the µs of the scripts in the slow log, and clear it."""
    with stand.server.client() as client:
        log: list[dict[str, Any]] = client.slowlog_get(LOOKED_AT)
        client.slowlog_reset()
    return [entry["duration"] for entry in log if entry["command"].startswith(b"EVALSHA")]


def _over(durations: Sequence[int]) -> tuple[int, str, Asked]:
    return sum(duration > SLOW_US for duration in durations), "", at_most(0)


def _worst(durations: Sequence[int]) -> str:
    return f"the slowest took {max(durations) / 1_000:.1f} ms" if durations else "none over 1 ms"


def _payloads(bench: Bench) -> list[Row]:
    found: list[Row] = []
    for size, words, full in PAYLOADS:
        count = bench.size(full, max(20, full // 100))
        args, _ = swallow.codec.encode_call((b"x" * size,), {})
        with bench.stand() as stand:
            stand.worker()
            _watch_slow(stand)
            fill = partial(stand.store, swallow, ["default:5"] * count, args)
            spent = stand.drain_filled(count, ("default",), fill)
            note = f"{spent.rate * size / 1e6:,.0f} MB/s; of the scripts, {_worst(_slow(stand))}"
        found.append(Row(f"drain of payloads of {words}", spent.rate, "/s", note=note))
    return found
