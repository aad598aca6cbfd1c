"""`replicated:N`: what `enqueue` returned has been confirmed by N replicas."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from taskq.broker.client import Broker
from taskq.errors import DurabilityUnknown
from taskq.inspector.doctor import Patient, Status, diagnose
from taskq.inspector.server_checks import durability_check
from tests.servers import RedisServer
from tests.slow_disk import app_of, assert_held_up, by_enqueue, stored
from tests.support import wait_until


@pytest.fixture
def replicated(redis_server: Callable[..., RedisServer]) -> tuple[RedisServer, RedisServer]:
    """A master and its replica, in step."""
    master = redis_server("--repl-diskless-sync-delay", "0")
    replica = redis_server("--replicaof", "127.0.0.1", str(master.port))
    with master.client() as client:  # an answer to a write: a replica that is only online does not listen yet
        client.set("first", 1)
        wait_until(lambda: client.wait(1, 1_000), timeout=30, message="the replica to be in step")
    return master, replica


def test_a_call_returns_once_the_replicas_have_it(
    replicated: tuple[RedisServer, RedisServer], namespace: str, thread: ThreadPoolExecutor
) -> None:
    master, replica = replicated
    app = app_of(master.url, namespace, "replicated:1")
    first = app.tasks["add"].enqueue(1, 2)
    assert stored(app, replica) == [first.id]

    with replica.frozen():
        call = thread.submit(by_enqueue, app)
        wait_until(lambda: len(stored(app, master)) == 2)
        assert_held_up(call)
    (second,) = call.result(20)

    assert stored(app, replica) == [first.id, second.id]
    app.close()


def test_the_doctor_counts_replicas(replicated: tuple[RedisServer, RedisServer]) -> None:
    master, _ = replicated
    with contextlib.closing(Broker(master.url, "doctor")) as broker:
        checks = [("durability", durability_check(f"replicated:{number}")) for number in (1, 2)]
        one, two = broker.run(diagnose(Patient(broker.keys), checks))

    assert (one.status, one.says) == (Status.OK, "replicated:1, by WAIT")
    assert two.status is Status.PROBLEM
    assert "1 replica online" in two.says


def test_too_few_replicas_are_counted_in_the_error(
    replicated: tuple[RedisServer, RedisServer], namespace: str
) -> None:
    master, replica = replicated
    app = app_of(master.url, namespace, "replicated:2", patience="1s")

    with pytest.raises(DurabilityUnknown, match="it is stored, but 1 of 2 replicas have it") as told:
        app.tasks["add"].enqueue(1, 2)

    safer = app.tasks["add"].using(durability="replicated:1", id=told.value.id)
    with replica.frozen(), pytest.raises(DurabilityUnknown, match="0 of 1 replicas have it"):
        safer.enqueue(1, 2)  # which writes nothing, and the replica has the message
    assert not safer.enqueue(1, 2).created
    app.close()


def test_a_replica_that_is_made_the_master_meanwhile_is_not_taken_for_a_confirmation(
    replicated: tuple[RedisServer, RedisServer], namespace: str, thread: ThreadPoolExecutor
) -> None:
    master, replica = replicated
    app = app_of(master.url, namespace, "replicated:1")
    app.tasks["add"].enqueue(1, 2)
    with replica.frozen():
        call = thread.submit(by_enqueue, app)
        wait_until(lambda: len(stored(app, master)) == 2)
        master.call("REPLICAOF", "127.0.0.1", replica.port)
        assert_held_up(call)
        master.call("REPLICAOF", "NO", "ONE")
    started = time.monotonic()
    replica.call("REPLICAOF", "127.0.0.1", master.port)

    (handle,) = call.result(30)
    assert handle.id in stored(app, replica), time.monotonic() - started
    app.close()
