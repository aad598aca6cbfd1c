"""Drain: how fast one worker process empties a queue of empty tasks, results stored, beside the ceiling.

    python -m tests.benchmarks.drain [--count N] [--pairs N] [--json]

Each pair runs the ceiling and taskq in turn on the same server. CPU is that of the worker's processes; Redis
time is that of `claim` and `settle` by `commandstats` (EVALSHA).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from taskq.app import TaskQ
from taskq.broker.client import Broker
from taskq.broker.commands import reading
from taskq.broker.commands.producing import Envelope
from taskq.broker.keys import Keys
from taskq.message import Message, encode_message
from taskq.names import new_task_id
from taskq.worker import Supervisor, WorkerConfig
from tests.benchmarks import ceiling
from tests.servers import RedisServer

app = TaskQ("bench")


@app.task
def empty() -> None:
    """Do nothing, in a thread."""


@app.task
async def aempty() -> None:
    """Do nothing, on the loop."""


def fill(broker: Broker, task: str, count: int) -> float:
    """Enqueue `count` calls; gives the seconds it took."""
    started = time.perf_counter()
    for start in range(0, count, 2_500):
        size = min(2_500, count - start)
        body = encode_message(Message(task))
        broker.run(broker.store([Envelope(new_task_id(), "default:5", body) for _ in range(size)]))
    return time.perf_counter() - started


def redis_us(broker: Broker) -> float:
    """Microseconds that the server has spent in scripts."""
    info = broker.call(reading.read(broker.keys[0], "INFO", "commandstats")).decode()
    for line in info.splitlines():
        if line.startswith("cmdstat_evalsha:"):
            return float(line.split("usec=")[1].split(",")[0])
    return 0.0


def run_worker(url: str, namespace: str, processes: int = 1) -> tuple[float, float]:
    """Run a worker until the queue is empty; gives the CPU seconds of its processes and its wall time."""
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        config = WorkerConfig(
            app="tests.benchmarks.drain:app", url=url, namespace=namespace, processes=processes, burst=True,
            log_level="WARNING",
        )  # fmt: skip
        code = 1
        try:
            code = Supervisor(config).run()
        finally:
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise SystemExit(f"the worker ended with status {status}")
    return usage.ru_utime + usage.ru_stime, time.perf_counter() - started


def measure(server: RedisServer, task: str, count: int) -> dict[str, float]:
    """Give one row: rates, their ratio, and what a task costs."""
    import uuid

    namespace = f"bench-{uuid.uuid4().hex[:8]}"
    broker = Broker(server.url, namespace)
    enqueue_s = fill(broker, task, count)
    before = redis_us(broker)
    top_s = ceiling.drain(server.url, Keys(namespace), count, lambda: None)
    top_us = redis_us(broker) - before
    # The worker's rate is taken between its first and its last commit, which `recent` has by Redis's clock.
    namespace = f"bench-{uuid.uuid4().hex[:8]}"
    broker = Broker(server.url, namespace)
    fill(broker, task, count)
    before = redis_us(broker)
    cpu_idle, _ = run_worker(server.url, f"{namespace}-idle")
    cpu_s, _ = run_worker(server.url, namespace)
    us = redis_us(broker) - before
    keys = broker.keys[0]
    entries = broker.call(reading.read(keys, "XRANGE", keys.recent, "-", "+"))
    settled = [line for entry in entries for line in entry[1][1].split(b"\n")]
    first, last = (int(entries[i][0].split(b"-")[0]) for i in (0, -1))
    share = len(settled)
    assert all(line.startswith(b"S ") for line in settled), settled[:3]
    left = broker.call(reading.read(keys, "LLEN", keys.ready("default", 5)))
    assert left == 0, f"{left} left"
    drain_s = (last - first) / 1_000 * count / share if share < count else (last - first) / 1_000
    broker.close()
    return {
        "enqueue/s": count / enqueue_s,
        "ceiling/s": count / top_s,
        "taskq/s": count / drain_s,
        "ratio": top_s / drain_s,
        "cpu us": (cpu_s - cpu_idle) / count * 1e6,
        "redis us": us / count,
        "ceiling redis us": top_us / count,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer("redis", Path(folder))
        server.start()
        try:
            for task in ("empty", "aempty"):
                pairs = [
                    measure(server, f"bench.tests.benchmarks.drain.{task}", options.count)
                    for _ in range(options.pairs)
                ]
                rows.append(
                    {
                        "task": task,
                        **{key: statistics.median(pair[key] for pair in pairs) for key in pairs[0]},
                    }
                )
        finally:
            server.stop()
    if options.json:
        print(json.dumps(rows))
        return
    print("server AOF everysec, results stored, log level WARNING, signing off, one process; medians")
    print("  ".join(f"{key:>16}" for key in rows[0]))
    for row in rows:
        print(
            "  ".join(
                f"{value:>16}" if isinstance(value, str) else f"{value:>16,.2f}" for value in row.values()
            )
        )


if __name__ == "__main__":
    main()
