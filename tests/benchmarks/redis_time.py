"""Redis time: what the scripts cost the server, by `commandstats` of EVALSHA."""

from __future__ import annotations

from taskq.broker.commands import working
from tests.benchmarks import ceiling
from tests.benchmarks.ceiling import RawLink
from tests.benchmarks.rows import Row, at_most
from tests.benchmarks.stand import Bench
from tests.benchmarks.tasks import aempty, empty

QUEUES = [f"queue-{number}" for number in range(10)]
LEASE_MS = 600_000


def rows(bench: Bench) -> list[Row]:
    """Enqueue, claim and settle of a task, and a claim that finds nothing."""
    count = bench.size(100_000, 5_000)
    with bench.stand() as stand:
        before = stand.script_us()
        empty.enqueue_many([()] * count)
        batches = stand.script_us() - before
        for _ in range(singles := count // 50):
            empty.enqueue()
        alone = stand.script_us() - before - batches
    with bench.stand() as stand:
        stand.fill(empty, count)
        before = stand.script_us()
        ceiling.drain(bench.server.url, stand.keys, count, lambda: None)
        bare = stand.script_us() - before
    with bench.stand() as stand:
        stand.worker()
        threads, loop = stand.drain(empty, count), stand.drain(aempty, count)
    return [
        Row("claim and settle a task, sync", threads.redis_each, "µs", at_most(12)),
        Row("claim and settle a task, async", loop.redis_each, "µs", at_most(12)),
        Row("claim and settle a task, by the ceiling", bare / count, "µs"),
        Row("enqueue a task, by enqueue_many", batches / count, "µs", at_most(4)),
        Row("enqueue a task alone", alone / singles, "µs"),
        Row("a claim over 10 idle queues", _idle_claim(bench), "µs", at_most(30)),
    ]


def _idle_claim(bench: Bench) -> float:
    count = bench.size(5_000, 500)
    with bench.stand() as stand:
        keys, link = stand.keys, RawLink(bench.server.url)
        stand.broker.call(working.hello(keys, "idle", LEASE_MS, b"", QUEUES))
        words = working.claim_words(keys, QUEUES)
        stand.broker.call(working.claim(keys, "idle", 1, 8, words))  # loads the script
        before = stand.script_us()
        for seq in range(count):
            link.send(working.claim(keys, "idle", seq + 2, 8, words).words())
            link.read()
        link.close()
        return (stand.script_us() - before) / count
