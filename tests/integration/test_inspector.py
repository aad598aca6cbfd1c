from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest
import redis

from taskq.broker.client import Broker
from taskq.broker.command import Steps
from taskq.errors import ConfigurationError, TaskNotFound
from taskq.inspector import operations
from taskq.inspector.detail import Detail, detail
from taskq.inspector.doctor import Patient, diagnose
from taskq.inspector.listing import UNREADABLE, Filter, Listing, tasks
from taskq.inspector.namespace_checks import NAMESPACE_CHECKS
from taskq.inspector.processes import processes, registered
from taskq.inspector.queues import Queue, queues
from taskq.record import State
from tests.hand import Hand, put
from tests.leaks import forget
from tests.servers import RedisServer
from tests.sight import KEEP_MS, fill, ids, listed, look
from tests.support import wait_until

pytestmark = pytest.mark.leaves_work


def queue(broker: Broker, name: str) -> Queue:
    return next(one for one in broker.run(queues(broker.keys)).queues if one.name == name)


@pytest.mark.contract
def test_each_state_is_listed_from_where_its_tasks_stand(broker: Broker) -> None:
    hand = Hand(broker, "mail")
    names = ("succeeds", "fails", "parks", "runs")
    put_ids = {name: put(broker, f"shop.{name}", 1, queue="mail", tags=[name]) for name in names}
    claimed = {one.id: one for one in hand.take()}
    hand.succeed(claimed[put_ids["succeeds"]])
    hand.fail(claimed[put_ids["fails"]])
    hand.park(claimed[put_ids["parks"]])
    waits = put(broker, "shop.waits", queue="mail", priority=9)
    later = put(broker, "shop.later", queue="mail", delay_ms=60_000)
    cancelled = put(broker, "shop.cancelled", queue="mail", delay_ms=60_000)
    broker.run(operations.cancel(broker.keys_of(cancelled), cancelled, KEEP_MS))

    found = {row.id: row for row in listed(broker)}

    assert {row.state: row.id for row in found.values()} == {
        "succeeded": put_ids["succeeds"],
        "failed": put_ids["fails"],
        "parked": put_ids["parks"],
        "running": put_ids["runs"],
        "queued": waits,
        "scheduled": later,
        "cancelled": cancelled,
    }
    assert found[waits].priority == 9
    assert found[waits].queue == "mail"
    assert found[put_ids["runs"]].process == hand.process
    assert found[put_ids["runs"]].tags == ["runs"]
    assert found[put_ids["fails"]].error == "ValueError: boom"
    assert found[put_ids["succeeds"]].task == "shop.succeeds"
    assert found[put_ids["succeeds"]].took_ms == 12
    due = found[later].due_ms
    assert due is not None
    assert 50_000 < due - broker.now_ms() <= 60_000


@pytest.mark.contract
def test_filters_leave_what_was_asked_for(broker: Broker) -> None:
    mail = put(broker, "shop.a", queue="mail", tags=["x", "y"])
    other = put(broker, "shop.b", queue="other", tags=["y"])
    later = put(broker, "shop.a", queue="other", delay_ms=60_000)

    assert set(ids(listed(broker, task="shop.a"))) == {mail, later}
    assert set(ids(listed(broker, queue="other"))) == {other, later}
    assert set(ids(listed(broker, tag="y"))) == {mail, other}
    assert ids(listed(broker, State.QUEUED, task="shop.a", queue="mail", tag="x")) == [mail]
    assert listed(broker, queue="nowhere") == []


@pytest.mark.contract
def test_a_filter_that_cannot_be_answered_is_refused(broker: Broker) -> None:
    with pytest.raises(ConfigurationError, match="neither queue nor tag is kept"):
        listed(broker, State.SUCCEEDED, queue="mail")


@pytest.mark.contract
def test_queued_tasks_stand_in_the_order_they_are_served(broker: Broker) -> None:
    low = [put(broker, priority=1) for _ in range(3)]
    high = [put(broker, priority=8) for _ in range(3)]

    assert ids(listed(broker, State.QUEUED)) == high + low


@pytest.mark.contract
def test_a_limit_holds_for_each_state_and_says_that_there_is_more(broker: Broker) -> None:
    now = [put(broker) for _ in range(4)]
    later = [put(broker, delay_ms=60_000 + n) for n in range(4)]

    found = broker.run(tasks(broker.keys, limit=2))
    assert ids(found.tasks) == now[:2] + later[:2]
    assert (found.more, found.partial) == (True, False)
    assert not broker.run(tasks(broker.keys, limit=4)).more


@pytest.mark.contract
def test_a_task_that_moves_on_while_it_is_listed_is_no_row(broker: Broker) -> None:
    task_id = put(broker)
    broker.run(operations.cancel(broker.keys_of(task_id), task_id, KEEP_MS))

    assert listed(broker, State.QUEUED) == []
    assert ids(listed(broker, State.CANCELLED)) == [task_id]


def test_a_listing_of_a_hundred_thousand_tasks_ends_at_its_bound(server: RedisServer, broker: Broker) -> None:
    fill(server, broker, 100_000)
    started = time.monotonic()

    found = broker.run(tasks(broker.keys, [State.QUEUED], Filter(task="shop.absent")))

    assert time.monotonic() - started < 4
    assert found.partial
    assert found.tasks == []
    assert 5_000 <= found.looked <= 10_000


def test_without_a_filter_the_first_of_many_come_at_once(server: RedisServer, broker: Broker) -> None:
    made = fill(server, broker, 20_000)

    found = broker.run(tasks(broker.keys, [State.QUEUED], limit=3))

    assert ids(found.tasks)[1:] == made[:2]
    assert (found.more, found.partial) == (True, False)
    assert found.looked <= 500


@pytest.mark.contract
def test_hostile_bytes_are_listed_as_unreadable_and_stop_nothing(server: RedisServer, broker: Broker) -> None:
    good = put(broker, "shop.good", queue="mail")
    bad_message, bad_record, future = (put(broker, queue="mail") for _ in range(3))
    keys = broker.keys[0]
    with server.client() as client:
        client.set(keys.message(bad_message), b"\x01\x00\xc1\xff\x1b[31m")
        client.set(keys.record(bad_record), b"q|\xff\xfe|\x1b[0m")
        client.set(keys.message(future), b"\x07\x00later")
        client.rpush(keys.ready("mail", 5), b"\xff\xfe\x1b[31m", b"x" * 100_000, "gone")
        client.rpush(keys.ready("bad", 5), "x")
        client.hset(keys.queues, mapping={"bad|name": "on", "bad": "on", b"\xff": "on"})
        client.lpush(keys.ready("bad", 4), "x")
        client.set(keys.ready("bad", 3), "no list")
        client.zadd(keys.agenda, {b"t:\xff": 1, b"t:none": float("inf"), b"junk": 2, f"t:{good}".encode(): 3})
        client.xadd(keys.recent, {"d": b"\xff\nS one\nS a b c d\n\x1b S x y 1\nS ok shop.ok 5"})
        client.set(keys.dead("mail"), "no set")
        client.sadd(keys.parked("\x1b[31m"), "nobody")
        client.hset(keys.held("ghost"), mapping={"x": "1:1:1:0", "y": "9" * 5_000 + ":1:1:1", "z": b"\xff"})
        client.hset(keys.beats, mapping={"ghost": "x", b"\xff": 1})
        client.set(keys.info("ghost"), b"\xc1\xff")

    found = broker.run(tasks(broker.keys))
    states = {row.id: row.state for row in found.tasks}

    assert states[good] == "queued"
    assert {states[bad_message], states[bad_record], states[future], states["gone"]} == {UNREADABLE}
    assert [row.id for row in found.tasks if row.state == "succeeded"] == ["ok"]
    assert max(len(row.id) for row in found.tasks) <= 200
    assert broker.run(queues(broker.keys)).queues
    assert [one.id for one in broker.run(processes(broker.keys))]
    assert look(broker, bad_message).unreadable == ["message"]
    assert look(broker, bad_record).state == UNREADABLE
    assert look(broker, future).unreadable == ["message (a later release wrote it)"]
    assert broker.run(diagnose(Patient(broker.keys), NAMESPACE_CHECKS))
    with server.client() as client:
        forget(client, broker.namespace.name)


def spoil(client: redis.Redis, key: str) -> None:
    """Put something of any type in the place of a key."""
    junk = random.randbytes(8)
    client.delete(key)
    match random.choice(["string", "list", "set", "sorted set", "hash", "stream"]):
        case "string":
            client.set(key, junk)
        case "list":
            client.rpush(key, junk, "x")
        case "set":
            client.sadd(key, junk, "x")
        case "sorted set":
            client.zadd(key, {b"t:x": float("-inf"), junk: 1})
        case "hash":
            client.hset(key, mapping={junk: junk, b"#": b"x"})
        case _:
            client.xadd(key, {b"d": junk, junk: b"x"})


@pytest.mark.parametrize("seed", range(12))
def test_any_type_at_any_key_stops_no_look(seed: int, server: RedisServer, broker: Broker) -> None:
    random.seed(seed)
    hand = Hand(broker, "mail", tasks={"shop.add": "mail"})
    known = [put(broker, queue="mail") for _ in range(4)]
    hand.fail(hand.take_one())
    keys = broker.keys[0]
    names = [
        *(keys.agenda, keys.processes, keys.beats, keys.queues, keys.tasks, keys.recent, keys.limbo),
        *(keys.quarantine, keys.held(hand.process), keys.info(hand.process), keys.serves("mail")),
        *(keys.dead("mail"), keys.parked("x"), keys.knows("shop.add"), keys.ready("mail", 5)),
        *(name(one) for one in known for name in (keys.record, keys.message, keys.extra)),
    ]
    with server.client() as client:
        for name in random.sample(names, 8):
            spoil(client, name)

    for steps in (tasks(broker.keys), queues(broker.keys), processes(broker.keys), registered(broker.keys)):
        broker.run(steps)
    broker.run(diagnose(Patient(broker.keys), NAMESPACE_CHECKS))
    for one in known:
        try:
            look(broker, one)
        except TaskNotFound:
            continue
    with server.client() as client:
        forget(client, broker.namespace.name)


@pytest.mark.contract
def test_a_queue_tells_what_waits_and_who_serves_it(broker: Broker) -> None:
    hand, other = Hand(broker, "mail"), Hand(broker, "mail", "more")
    for priority in (1, 5, 5):
        put(broker, queue="mail", priority=priority)
    put(broker, queue="mail", delay_ms=60_000)
    runs = hand.take_one()
    failed = other.take_one()
    other.fail(failed)
    put(broker, queue="mail")
    broker.run(operations.pause(broker.keys, "mail"))

    found = queue(broker, "mail")

    assert found.paused
    assert found.by_priority == {"5": 1, "1": 1}
    assert (found.ready, found.running, found.scheduled, found.dead, found.processes) == (2, 1, 1, 1, 2)
    assert found.oldest_ms is not None
    assert 0 <= found.oldest_ms < 10_000
    assert queue(broker, "more").oldest_ms is None
    hand.succeed(runs)
    assert queue(broker, "mail").running == 0


def test_a_count_of_many_scheduled_tasks_says_that_it_is_partial(server: RedisServer, broker: Broker) -> None:
    put(broker, queue="mail")
    keys = broker.keys[0]
    with server.client() as client:
        made = [f"later-{n}" for n in range(12_000)]
        client.mset({keys.record(one): "w|0||mail:5|0|0|" for one in made})
        client.zadd(keys.agenda, dict.fromkeys((f"t:{one}" for one in made), 9e12))

    found = broker.run(queues(broker.keys))

    assert found.partial
    assert 2_000 < found.queues[0].scheduled < 12_000


@pytest.mark.contract
def test_one_task_is_told_with_all_that_is_known(broker: Broker) -> None:
    hand = Hand(broker, "mail")
    task_id = put(broker, "shop.add", 1, "two", queue="mail", headers={"a": "b"}, tags=["t"], max_retries=3)

    waiting = look(broker, task_id)
    assert (waiting.state, waiting.where) == ("queued", "number 1 of priority 5")
    assert (waiting.args, waiting.kwargs) == ([1, "two"], {})
    assert (waiting.headers, waiting.tags, waiting.max_retries) == ({"a": "b"}, ["t"], 3)
    assert (waiting.attempt, waiting.queue, waiting.priority) == (1, "mail", 5)

    claimed = hand.take_one()
    running = look(broker, task_id)
    assert (running.state, running.process) == ("running", hand.process)
    assert running.where == f"in process {hand.process}"

    hand.fail(claimed, "boom")
    failed = look(broker, task_id)
    assert (failed.state, failed.where) == ("failed", "among the dead letters")
    assert failed.error is not None
    assert (failed.error.type, failed.error.message) == ("ValueError", "boom")
    assert failed.error.traceback.endswith("ValueError: boom\n")
    assert failed.args == [1, "two"]
    assert failed.keep_ms is not None


@pytest.mark.contract
def test_a_result_is_shown_with_its_task(broker: Broker) -> None:
    hand = Hand(broker)
    task_id = put(broker)
    hand.succeed(hand.take_one(), {"total": 3})

    found = look(broker, task_id)

    assert (found.state, found.where, found.took_ms) == ("succeeded", "ended", 12)
    assert (found.has_result, found.result) == (True, {"total": 3})


@pytest.mark.contract
def test_a_task_that_waits_in_vain_says_why(broker: Broker) -> None:
    task_id = put(broker, queue="mail")
    assert "no worker serves the queue: start one with -Q mail" in look(broker, task_id).where

    broker.run(operations.pause(broker.keys, "mail"))
    assert "the queue is paused: `taskq resume mail`" in look(broker, task_id).where

    later = put(broker, queue="mail", delay_ms=60_000)
    assert look(broker, later).where == "in the agenda"
    assert look(broker, later).due_ms

    broker.run(operations.resume(broker.keys, "mail"))
    hand = Hand(broker, "mail")
    hand.park(hand.take_one())
    assert look(broker, task_id).where == "set aside until a worker that knows 'shop.add' starts"


@pytest.mark.contract
def test_an_unknown_id_is_no_task(server: RedisServer, broker: Broker) -> None:
    with pytest.raises(TaskNotFound, match="never existed"):
        look(broker, "nobody")
    with server.client() as client:
        client.sadd(broker.keys[0].limbo, "lost")
        client.rpush(broker.keys[0].record("list"), "x")
    with pytest.raises(TaskNotFound, match="limbo"):
        look(broker, "lost")
    with pytest.raises(TaskNotFound, match="wrong type"):
        look(broker, "list")


@pytest.mark.contract
def test_processes_tell_who_they_are_and_what_they_hold(broker: Broker) -> None:
    hand = Hand(broker, "mail", tasks={"shop.add": "mail"})
    silent = Hand(broker, "mail", info=b"\xff", lease_ms=1)
    for _ in range(4):
        put(broker, queue="mail")
    hand.take_one()

    def silent_ones() -> list[str]:
        return [one.id for one in broker.run(processes(broker.keys)) if one.lease_ms is None]

    wait_until(silent_ones, message="the lease of 1 ms to end")
    found = {process.id: process for process in broker.run(processes(broker.keys))}

    assert (found[hand.process].host, found[hand.process].pid, found[hand.process].app) == ("box", 7, "shop")
    assert (found[hand.process].queues, found[hand.process].holds) == (["mail"], 1)
    lease_ms = found[hand.process].lease_ms
    assert lease_ms is not None
    assert 50_000 < lease_ms <= 60_000
    assert (found[silent.process].lease_ms, found[silent.process].host) == (None, None)
    [task] = broker.run(registered(broker.keys))
    assert (task.name, task.queue, task.processes) == ("shop.add", "mail", 1)
    hand.leave()
    assert broker.run(registered(broker.keys))[0].processes == 0


@pytest.mark.contract
def test_the_same_steps_serve_async_callers(broker: Broker) -> None:
    task_id = put(broker)

    async def both() -> tuple[Listing, Detail]:
        steps: Steps[Any] = tasks(broker.keys)
        found = await broker.arun(steps), await broker.arun(detail(broker.keys[0], task_id))
        await broker.aclose()
        return found

    listing, one = asyncio.run(both())
    assert ids(listing.tasks) == [task_id] == [one.id]


@pytest.mark.contract
def test_a_namespace_that_was_never_used_is_empty_and_stays_so(server: RedisServer, broker: Broker) -> None:
    assert broker.run(tasks(broker.keys)).tasks == []
    assert broker.run(queues(broker.keys)).queues == []
    assert broker.run(processes(broker.keys)) == []
    assert broker.run(registered(broker.keys)) == []
    with server.client() as client:
        assert not client.exists(broker.keys[0].meta)
