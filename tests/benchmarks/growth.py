"""Growth: whether the figures hold when there is much of everything."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from taskq.broker.commands.producing import options
from tests.benchmarks.rows import Row, at_least, at_most
from tests.benchmarks.stand import Bench
from tests.benchmarks.tasks import empty, swallow

HOUR_MS = 3_600_000
SLOW_US = 5_000
LOOKED_AT_US = 1_000
"""What takes longer is in the server's slow log while the due tasks are there."""

PAYLOADS = ((100, "100 B", 20_000), (10_000, "10 KB", 10_000), (1_000_000, "1 MB", 200))


def rows(bench: Bench) -> list[Row]:
    """Many tasks, many queues, many that are due, large ones."""
    return [*_depths(bench), *_queues(bench), *_due(bench), *_payloads(bench)]


def _depths(bench: Bench) -> list[Row]:
    rates: dict[int, float] = {}
    with bench.stand() as stand:
        stand.worker()
        stand.drain(empty, 1_000)
        for depth in (10_000, 100_000, 1_000_000):
            count = bench.size(depth, depth // 20)
            rates[count] = stand.drain(empty, count).rate
    found = [Row(f"drain of {count:,} queued", rate, "/s") for count, rate in rates.items()]
    return [*found, Row("the slowest of these over the fastest", min(rates.values()) / max(rates.values()), "",
                        at_least(0.8))]  # fmt: skip


def _queues(bench: Bench) -> list[Row]:
    count = bench.size(100_000, 5_000)
    found: list[Row] = []
    for number in (1, 10, 100):
        queues = tuple(f"queue-{at}" for at in range(number))
        with bench.stand() as stand:
            stand.worker(queues=queues)
            spent = stand.drain(empty, count, queues)
        note = f"{spent.redis_each:.1f} µs of Redis, {spent.cpu_each:.1f} µs of worker CPU a task"
        found.append(Row(f"drain of {number} queue(s)", spent.rate, "/s", note=note))
    return found


def _due(bench: Bench) -> list[Row]:
    """Tasks that fall due one after the other over an hour, while they are stored and while a worker takes them."""
    count = bench.size(1_000_000, 20_000)
    with bench.stand() as stand:
        stand.server.call("CONFIG", "SET", "slowlog-log-slower-than", LOOKED_AT_US)
        stand.server.call("CONFIG", "SET", "slowlog-max-len", 10_000)
        stand.server.call("SLOWLOG", "RESET")
        began = time.perf_counter()
        step = HOUR_MS / count
        stand.store(
            empty, ["default:5"] * count, options=[options(delay_ms=round(at * step)) for at in range(count)]
        )
        stored = count / (time.perf_counter() - began)
        stand.worker()
        time.sleep(bench.size(15, 1))  # the load itself: so long a worker takes what falls due
        taken = stand.succeeded()
        with stand.server.client() as client:
            log: list[dict[str, Any]] = client.slowlog_get(10_000)
    scripts = [entry["duration"] for entry in log if entry["command"].startswith(b"EVALSHA")]
    slow = sum(duration > SLOW_US for duration in scripts)
    note = f"slowest {max(scripts) / 1_000:.1f} ms" if scripts else f"all under {LOOKED_AT_US / 1_000:g} ms"
    return [
        Row(f"scripts over 5 ms, {count:,} tasks due over an hour", slow, "", at_most(0),
            note=f"{note}; {taken:,} of them ran"),
        Row("storing them", stored, "/s"),
    ]  # fmt: skip


def _payloads(bench: Bench) -> list[Row]:
    found: list[Row] = []
    for size, words, full in PAYLOADS:
        count = bench.size(full, max(20, full // 100))
        args, _ = swallow.codec.encode_call((b"x" * size,), {})
        with bench.stand() as stand:
            stand.worker()
            fill = partial(stand.store, swallow, ["default:5"] * count, args)
            spent = stand.drain_filled(count, ("default",), fill)
        note = f"{spent.rate * size / 1e6:,.0f} MB/s"
        found.append(Row(f"drain of payloads of {words}", spent.rate, "/s", note=note))
    return found
