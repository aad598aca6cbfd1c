"""A server that takes no writes, for want of memory, replicas or disk: producers hear of it at once, workers wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq import BackpressureError, EnqueueUnknown, QueueFull, TaskQ
from tests.player import add, run
from tests.proxy import Fate, Proxy, all_pass
from tests.servers import RedisServer
from tests.support import wait_until
from tests.workers import Yard

REFUSALS = {"OOM": "memory is full", "NOREPLICAS": "too few replicas", "MISCONF": "cannot write to its disk"}
AT_ONCE_S = 0.1

Start = Callable[..., RedisServer]


@pytest.fixture
def own(redis_server: Start) -> RedisServer:
    return redis_server("--maxmemory-policy", "noeviction", aof=False)


@pytest.fixture
def own_app(own: RedisServer) -> Iterator[TaskQ]:
    """An app that would wait for half a minute, and knows its server already."""
    app = TaskQ("shop", redis_url=own.url, patience=30)
    app.task(add, name="add").enqueue(0)
    yield app
    app.close()


def refused_after(call: Callable[[], object], match: str) -> float:
    """How many seconds it takes until a call is refused."""
    begun = time.monotonic()
    with pytest.raises(BackpressureError, match=match) as caught:
        call()
    assert not isinstance(caught.value, QueueFull)
    return time.monotonic() - begun


@pytest.mark.parametrize("why", REFUSALS)
class TestProducers:
    def test_each_way_to_enqueue_hears_of_it_at_once(
        self, own: RedisServer, own_app: TaskQ, why: str
    ) -> None:
        task = own_app.tasks["add"]
        patient = task.using(block_when_full=30)  # which is about queues, not about servers
        calls: tuple[Callable[[], object], ...] = (
            lambda: task.enqueue(1),
            lambda: patient.enqueue(1),
            lambda: task.using(delay=60, key="k").enqueue(1),
            lambda: patient.enqueue_many([(1,)])[0].get(),
            lambda: task.enqueue_many([(1,)] * 600)[-1].get(),
        )
        with own.refusing_writes(why):
            for call in calls:
                # The quickest of three: this machine may have others to serve.
                assert min(refused_after(call, REFUSALS[why]) for _ in range(3)) < AT_ONCE_S
        assert task.enqueue(1).created

    def test_so_does_a_program_on_a_loop(self, own: RedisServer, own_app: TaskQ, why: str) -> None:
        task = own_app.tasks["add"].using(block_when_full=30)

        async def main() -> None:
            await task.aenqueue(1)  # opens the connection
            took: list[float] = []
            with own.refusing_writes(why):
                for _ in range(3):
                    begun = time.monotonic()
                    with pytest.raises(BackpressureError, match=REFUSALS[why]):
                        await task.aenqueue(1)
                    took.append(time.monotonic() - begun)
            assert min(took) < AT_ONCE_S
            await task.aenqueue(1)

        run(own_app, main())

    def test_a_program_that_starts_then_hears_of_it_at_once(self, own: RedisServer, why: str) -> None:
        with own.refusing_writes(why):
            app = TaskQ("fresh", redis_url=own.url, namespace="never-used")
            task = app.task(add, name="add")
            begun = time.monotonic()
            for _ in range(3):
                with pytest.raises(BackpressureError, match=REFUSALS[why]):
                    task.enqueue(1)
            assert time.monotonic() - begun < 1.5
        assert task.enqueue(1).created
        app.close()

    def test_what_was_accepted_before_is_accepted_to_a_repeat(
        self, own: RedisServer, own_app: TaskQ, why: str
    ) -> None:
        """The first try's reply was lost; by the time of the repeat the server takes no more."""
        with Proxy(own.port) as proxy:
            app = TaskQ("shop", redis_url=proxy.url, patience=0.2)
            task = app.task(add, name="add")
            task.enqueue(0)
            proxy.judge = lambda words: Fate.LOSE_REPLY if words[0] == b"EVALSHA" else Fate.PASS
            with pytest.raises(EnqueueUnknown) as unknown:
                task.enqueue(1)
            proxy.judge = all_pass
            with own.refusing_writes(why):
                handle = unknown.value.retry()
            assert handle.id == unknown.value.id
            assert handle.created
            app.close()


@pytest.mark.parametrize(
    "given", [{"delay": 3_600}, {}, {"durability": "fsync"}], ids=["delayed", "plain", "safe"]
)
def test_what_many_calls_are_told_is_so_where_a_server_fills_up_among_them(
    redis_server: Start, given: dict[str, Any]
) -> None:
    """They go in several commands; what those before the full memory have stored is stored."""
    own = redis_server("--maxmemory-policy", "noeviction", "--appendfsync", "always")
    app = TaskQ("shop", redis_url=own.url)
    task = app.task(text, name="text")
    keys = app.broker.keys[0]
    task.enqueue("")
    own.call("CONFIG", "SET", "maxmemory", int(own.call("INFO", "memory")["used_memory"]) + 1_500_000)

    outcomes = task.using(**given).enqueue_many(("x" * 2_000,) for _ in range(3_000))

    accepted = [one.get().id for one in outcomes if one.created]
    assert 0 < len(accepted) < 3_000
    assert all(isinstance(one.error, BackpressureError) for one in outcomes if not one.created)
    stored = {name.decode().rpartition(":")[2] for name in own.call("KEYS", keys.message("*"))}
    assert {*accepted} == stored & {*accepted}
    assert len(stored) == len(accepted) + 1
    app.close()


def text(words: str) -> str:
    return words


@pytest.mark.parametrize("why", ["NOREPLICAS", "MISCONF"])
class TestWorkers:
    """At OOM they go on: test_full_memory.py."""

    def test_one_that_starts_waits_until_it_may(self, tmp_path: Path, why: str) -> None:
        with Yard(tmp_path) as yard:
            handle = yard.send("quick.tick")
            with yard.server.refusing_writes(why):
                worker = yard.worker("quick", wait=False, processes=2)
                wait_until(lambda: REFUSALS[why] in worker.path.read_text(), timeout=15)
                time.sleep(1)
                assert worker.running()
            assert handle.result(timeout=15) is None
            yard.wait_ready(worker)
            assert worker.stop() == 0
            assert yard.leftovers() == []

    def test_one_that_runs_keeps_what_it_has_and_goes_on(self, tmp_path: Path, why: str) -> None:
        with Yard(tmp_path) as yard:
            worker = yard.worker("quick", processes=2)
            before = worker.children()
            handles = [yard.send("quick.hold", 0.3) for _ in range(6)]
            yard.ledger.wait("start", count=6)
            with yard.server.refusing_writes(why):
                yard.ledger.wait("end", count=6)
                wait_until(lambda: REFUSALS[why] in worker.path.read_text(), timeout=15)
                time.sleep(3.5)  # over a lease, so that each has to be sure of its name again
                assert worker.children() == before
                said = worker.path.read_text().count(REFUSALS[why])
                assert said <= 10
            for handle in handles:
                assert handle.result(timeout=15) is None
            assert len(yard.ledger.starts()) == 6
            assert yard.send("quick.tick").result(timeout=10) is None
            assert worker.stop() == 0
            assert yard.leftovers() == []
