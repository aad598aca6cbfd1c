"""A full server: nothing new enters, everything in flight finishes, and nothing is half-written."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis

from taskq.broker.commands import operating, producing
from taskq.broker.commands.working import Answer, Kind
from taskq.errors import BackpressureError
from taskq.record import State
from tests.engine import HOUR_MS, Lab, envelope, ids
from tests.servers import RedisServer

Start = Callable[..., RedisServer]


@pytest.fixture
def own(redis_server: Start) -> RedisServer:
    return redis_server("--maxmemory-policy", "noeviction", aof=False)


@pytest.fixture
def lab(own: RedisServer) -> Iterator[Lab]:
    """A lab on a server that `full` fills to the brim, far below what it uses already."""
    with Lab(own.url, "own", patience=1.0) as lab:
        lab.broker.run(lab.broker.namespace.meet(0))
        yield lab


def full(server: RedisServer) -> None:
    server.call("CONFIG", "SET", "maxmemory", "1mb")
    with pytest.raises(redis.OutOfMemoryError):
        server.call("SET", "more", "1")


def roomy(server: RedisServer) -> None:
    server.call("CONFIG", "SET", "maxmemory", "0")


def test_nothing_new_enters_and_nothing_is_half_written(lab: Lab, own: RedisServer) -> None:
    lab.hello("p")
    lab.enqueue("dead")
    lab.settle("p", lab.claim("p").tasks, Kind.FAILED)
    full(own)
    before = lab.snapshot()

    def requeue() -> None:
        lab.call(operating.requeue(lab.keys, "dead", "default", 60_000, "new", "default:5", b"m"))

    for refused in (
        lambda: lab.enqueue("a", "b"),
        lambda: lab.enqueue("c", delay_ms=HOUR_MS, expires_in_ms=HOUR_MS, key="app.job:k"),
        lambda: lab.enqueue("d", front=True),
        lambda: lab.broker.run(lab.broker.store([envelope("e")])),
        requeue,
    ):
        with pytest.raises(BackpressureError, match="memory is full; nothing was stored"):
            refused()

    assert lab.snapshot() == before
    roomy(own)
    assert lab.enqueue("a")[0].created


def test_filling_up_leaves_every_accepted_task_whole(lab: Lab, own: RedisServer) -> None:
    own.call("CONFIG", "SET", "maxmemory", str(int(own.call("INFO", "memory")["used_memory"]) + 3_000_000))
    accepted: list[str] = []

    def fill() -> None:
        while True:
            batch = [f"a{len(accepted) + n:05}" for n in range(20)]
            lab.store([envelope(id, options="|+3600000|||job:" + id) for id in batch])
            accepted.extend(batch)

    with pytest.raises(BackpressureError):
        fill()
    assert len(accepted) > 100
    assert lab.ready() == accepted
    own.call("CONFIG", "SET", "maxmemory", "1mb")

    lab.hello("p")
    done: list[str] = []
    while tasks := lab.claim("p").tasks:
        assert set(lab.settle("p", tasks)) == {Answer.COMMITTED}
        done += ids(tasks)

    assert done == accepted
    assert lab.names("[bxu]:*") == []
    assert lab.agenda() == {}


@pytest.mark.parametrize("kind", Kind)
def test_everything_that_was_claimed_can_be_settled(lab: Lab, own: RedisServer, kind: Kind) -> None:
    lab.hello("p")
    lab.enqueue("a", "b", expires_in_ms=HOUR_MS)
    lab.enqueue("c", key="app.job:k")
    full(own)

    tasks = lab.take("p")
    assert ids(tasks) == ["a", "b", "c"]
    assert lab.settle("p", tasks, kind) == [Answer.COMMITTED] * 3
    assert lab.settle("p", tasks, kind) == [Answer.ALREADY] * 3


def test_whatever_a_worker_does_it_can_do(lab: Lab, own: RedisServer, jumping_clock: None) -> None:
    lab.hello("old")
    lab.enqueue("lost", "unknown", "careful", "running", "over")
    lab.enqueue("later", delay_ms=1_000)
    lab.enqueue("fleeting", expires_in_ms=1_000, list="default:0")
    careful = lab.take("old", 3)[2:]
    lab.settle("old", careful, Kind.SUSPECT)
    full(own)

    lab.hello("new", "third")
    assert lab.register("new", **{"app.job": "default"}) == 0
    assert lab.reap("old") == 0
    assert lab.ready()[:2] == ["lost", "unknown"]
    (lost,) = lab.claim("new").tasks
    assert lab.start("new", lost)
    assert lab.settle("new", [lost]) == [Answer.COMMITTED]
    (unknown,) = lab.claim("new").tasks
    assert lab.park("new", unknown, "app.other") == "p"
    (again,) = lab.claim("new").tasks
    assert again.id == "careful"
    assert lab.settle("new", [again], Kind.CRASHED) == [Answer.COMMITTED]
    assert lab.register("third", **{"app.other": "default"}) == 0

    roomy(own)
    lab.pass_time(5_000)  # what is due is filed, what is over ends
    full(own)
    assert [beat.alive for beat in lab.beat("new", "third")] == [True, True]
    assert lab.claim("new", 0).tasks == []
    assert lab.state("fleeting") is State.EXPIRED
    assert lab.ready()[-2:] == ["unknown", "later"]

    assert lab.cancel("running") is State.CANCELLED
    assert lab.call(operating.purge(lab.keys, "default", 5, 60_000))[1] == 0
    assert lab.mend() == []


def test_a_running_task_can_be_cancelled(lab: Lab, own: RedisServer) -> None:
    lab.hello("p")
    lab.enqueue("a")
    tasks = lab.claim("p").tasks
    full(own)
    assert lab.cancel("a") is State.RUNNING
    assert lab.beat("p")[0].cancels == {"a": tasks[0].g}
    assert lab.settle("p", tasks, Kind.RETRY) == [Answer.COMMITTED]
    assert lab.state("a") is State.CANCELLED


def test_a_claim_of_nothing_leaves_its_token(lab: Lab, own: RedisServer) -> None:
    lab.hello("p")
    lab.enqueue("a", "b")
    lab.forget_tokens()
    full(own)
    lab.claim("p", 0)
    assert lab.tokens() == 1


def test_a_dead_letter_can_be_discarded_and_a_queue_paused_bounded_and_resumed(
    lab: Lab, own: RedisServer
) -> None:
    lab.hello("p")
    lab.enqueue("a", "b")
    lab.settle("p", lab.claim("p", 1).tasks, Kind.FAILED)
    full(own)
    lab.call(operating.pause(lab.keys, "default"))
    assert lab.call(operating.bound(lab.keys, "default", "set", 5)) == 5
    assert lab.claim("p").tasks == []
    lab.call(operating.resume(lab.keys, "default"))
    assert ids(lab.claim("p")) == ["b"]
    assert lab.call(operating.discard(lab.keys, "default")) == (1, 0)


def test_records_can_be_reconciled(lab: Lab, own: RedisServer) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.enqueue("b", delay_ms=HOUR_MS)
    lab.claim("p")
    lab.redis("DEL", lab.keys.held("p"), lab.keys.agenda)
    full(own)
    assert lab.reconcile("a", "b") == 2
    assert lab.ready() == ["a"]


def test_who_waits_is_not_registered_and_learns_the_end_by_looking(lab: Lab, own: RedisServer) -> None:
    lab.hello("p")
    lab.enqueue("a")
    full(own)
    assert lab.call(producing.wait(lab.keys, "c1", ["a"])) == [State.QUEUED]
    assert lab.names("waits") == []
    lab.settle("p", lab.claim("p").tasks)
    assert lab.call(producing.wait(lab.keys, "c1", ["a"]))[0].state is State.SUCCEEDED


def test_who_waited_before_is_told(lab: Lab, own: RedisServer) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.call(producing.wait(lab.keys, "c1", ["a"]))
    full(own)
    lab.settle("p", lab.claim("p").tasks)
    (told,) = lab.texts("LRANGE", lab.keys.inbox("c1"), 0, -1)
    assert told.startswith("a S|")  # the id, and the record
