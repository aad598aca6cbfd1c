from __future__ import annotations

import pytest

from taskq.broker.client import Broker
from taskq.errors import BadMessage, TaskNotFound
from taskq.inspector import dead, operations
from taskq.inspector.listing import Filter
from taskq.inspector.orphans import find_orphans, mend
from taskq.inspector.scan import Budget
from taskq.message import decode_message
from taskq.record import State
from tests.hand import Hand, put
from tests.servers import RedisServer
from tests.sight import KEEP_MS, fill, listed, look

pytestmark = pytest.mark.leaves_work


@pytest.mark.contract
def test_a_dead_letter_is_requeued_under_a_new_id(broker: Broker) -> None:
    hand = Hand(broker, "mail")
    old = put(broker, "shop.add", 1, queue="mail", priority=7, tags=["t"])
    hand.fail(hand.take_one())
    keys = broker.keys[0]

    assert broker.run(dead.find(keys, old)) == "mail"
    done = broker.run(dead.requeue(keys, "mail", old, KEEP_MS))

    assert done.origin == old
    again = look(broker, done.id)
    assert (again.state, again.origin, again.args) == ("queued", old, [1])
    assert (again.priority, again.tags) == (7, ["t"])
    assert look(broker, old).state == "failed"
    assert listed(broker, State.FAILED) == []
    with pytest.raises(TaskNotFound, match="no dead letter"):
        broker.run(dead.find(keys, old))
    with pytest.raises(TaskNotFound):
        broker.run(dead.requeue(keys, "mail", old, KEEP_MS))
    claimed = hand.take_one()
    assert decode_message(claimed.message).origin == old


@pytest.mark.contract
def test_all_dead_letters_that_fit_are_requeued_or_removed(server: RedisServer, broker: Broker) -> None:
    hand = Hand(broker, "mail", "other")
    for name, where in (("a", "mail"), ("b", "mail"), ("a", "other"), ("c", "other"), ("c", "other")):
        put(broker, f"shop.{name}", queue=where)
    for claimed in hand.take():
        hand.fail(claimed)
    broken = next(row.id for row in listed(broker, State.FAILED, task="shop.b"))
    with server.client() as client:
        client.set(broker.keys[0].message(broken), b"\xff")

    done, refused = broker.run(dead.requeue_all(broker.keys, Filter(task="shop.a"), KEEP_MS))
    assert (len(done), refused) == (2, {})
    assert broker.run(dead.discard_all(broker.keys, Filter(queue="other"))) == 2
    done, refused = broker.run(dead.requeue_all(broker.keys, Filter(), KEEP_MS))
    assert (done, [*refused]) == ([], [broken])
    with pytest.raises(BadMessage, match="only be purged"):
        broker.run(dead.requeue(broker.keys[0], "mail", broken, KEEP_MS))
    assert broker.run(dead.discard_all(broker.keys, Filter())) == 1
    assert listed(broker, State.FAILED) == []


def test_more_dead_letters_than_one_command_takes_are_removed(server: RedisServer, broker: Broker) -> None:
    put(broker, queue="mail")
    keys = broker.keys[0]
    with server.client() as client:
        client.zadd(keys.dead("mail"), {f"dead-{n}": n for n in range(1_700)})

    assert broker.run(dead.discard_all(broker.keys, Filter(queue="mail"))) == 1_700


@pytest.mark.contract
def test_purge_cancels_what_is_ready_and_leaves_the_rest(broker: Broker) -> None:
    ready = [put(broker, queue="mail", priority=priority) for priority in (1, 5, 9)]
    later = put(broker, queue="mail", delay_ms=60_000)
    other = put(broker, queue="other")

    assert broker.run(operations.purge(broker.keys, "mail", KEEP_MS)) == 3

    assert {look(broker, one).state for one in ready} == {"cancelled"}
    assert look(broker, later).state == "scheduled"
    assert look(broker, other).state == "queued"
    assert broker.run(operations.purge(broker.keys, "mail", KEEP_MS)) == 0


def test_purge_takes_as_many_commands_as_it_needs(server: RedisServer, broker: Broker) -> None:
    fill(server, broker, 1_200)

    assert broker.run(operations.purge(broker.keys, "default", KEEP_MS)) == 1_201


@pytest.mark.contract
def test_a_record_that_nothing_points_to_is_found_and_mended(server: RedisServer, broker: Broker) -> None:
    hand = Hand(broker, "mail")
    held, lost = put(broker, queue="mail"), put(broker, queue="mail")
    hand.take()
    later, forgotten = (put(broker, queue="mail", delay_ms=60_000) for _ in range(2))
    keys = broker.keys[0]
    assert broker.run(find_orphans(keys, Budget())).ids == []
    with server.client() as client:
        client.hdel(keys.held(hand.process), lost)
        client.zrem(keys.agenda, f"t:{forgotten}")

    found = broker.run(find_orphans(keys, Budget()))
    assert set(found.ids) == {lost, forgotten}
    assert not found.partial
    assert "does not hold it" in look(broker, lost).where
    assert "in no agenda" in look(broker, forgotten).where

    assert broker.run(mend(keys, found.ids)) == 2
    assert broker.run(find_orphans(keys, Budget())).ids == []
    assert look(broker, lost).state == "queued"
    assert look(broker, held).state == "running"
    assert look(broker, later).state == "scheduled"
    assert look(broker, forgotten).where == "in the agenda"
