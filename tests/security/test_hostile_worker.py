"""A real worker meets what the fuzzers make: well-formed, and nothing that a program of ours would write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taskq import State, TaskHandle
from taskq.broker.commands.producing import Envelope
from taskq.names import new_task_id
from tests.support import wait_until
from tests.workers import Worker, Yard, steadily

TICK = "tests.tests.apps.quick.tick"


@pytest.fixture
def yard(tmp_path: Path) -> Iterator[Yard]:
    with Yard(tmp_path) as yard:
        yield yard


def store(yard: Yard, message: dict[str, Any], id: str | None = None) -> TaskHandle[Any]:
    """Store a message with these fields, by their short names on the wire."""
    data = b"\x01\x00" + msgspec.msgpack.encode({"t": TICK, **message})
    broker = yard.app.broker
    [stored] = broker.run(broker.store([Envelope(id or new_task_id(), "default:5", data)]))
    return yard.app.handle(stored.id)


def lives(yard: Yard, worker: Worker) -> None:
    """Hold a worker to it that it has the processes that it had, and all their slots."""
    children = worker.children()
    after = yard.send_many("quick.tick", [()] * 8)
    assert yard.wait_ended(after) == {"succeeded": 8}
    assert worker.running()
    assert worker.children() == children


@pytest.mark.parametrize("task", ["tick", "atick"])
def test_numbers_that_no_call_has_cost_no_slot_and_no_neighbour(yard: Yard, task: str) -> None:
    worker = yard.worker("quick", concurrency=2)
    children = worker.children()
    name = f"tests.tests.apps.quick.{task}"
    numbers = [-(1 << 63), -1, (1 << 63) - 1, (1 << 64) - 1]
    fields = ("to", "rt", "mr", "c", "p")
    hostile = [store(yard, {"t": name, field: number}) for field in fields for number in numbers]
    neighbours = yard.send_many(f"quick.{task}", [()] * 20)

    assert yard.wait_ended(neighbours) == {"succeeded": 20}
    assert yard.wait_ended(hostile) == {"failed": len(hostile)}
    errors = [handle.info().error for handle in hostile]
    assert {error.type for error in errors if error} == {"taskq.errors.BadMessage"}
    assert {*yard.ledger.counts()} == {handle.id for handle in neighbours}
    assert yard.server.call("XLEN", yard.app.broker.keys[0].quarantine) == len(hostile)
    assert worker.children() == children
    lives(yard, worker)
    assert worker.stop() == 0


@pytest.mark.parametrize(
    "counts", [f"{'9' * 20}|0", f"0|{'9' * 20}", f"{'9' * 5_000}|0"], ids=["f", "c", "long"]
)
def test_counts_that_no_task_comes_to_cost_no_process(yard: Yard, counts: str) -> None:
    worker = yard.worker("quick")
    keys = yard.app.broker.keys[0]
    yard.server.call("HSET", keys.queues, "default", "paused")
    hostile, neighbour = yard.send("quick.tick"), yard.send("quick.tick")
    yard.server.call("SET", keys.record(hostile.id), f"q|1||default:5|{counts}|")
    yard.server.call("HSET", keys.queues, "default", "on")
    yard.server.call("RPUSH", keys.wake("default"), "1")

    assert yard.wait_ended([neighbour]) == {"succeeded": 1}
    assert yard.wait_ended([hostile]) == {"failed": 1}
    assert yard.ledger.counts() == {neighbour.id: 1}
    lives(yard, worker)
    assert worker.stop() == 0


def test_cancels_that_name_no_task_leave_the_supervisor_alone(yard: Yard) -> None:
    worker = yard.worker("quick")
    keys = yard.app.broker.keys[0]
    [process] = yard.processes(worker)
    control = f"{keys.prefix}control:{process.id}"
    running = yard.send("quick.ahold", 30)
    wait_until(lambda: running.status() is State.RUNNING)
    yard.server.call(
        "HSET", control, b"\xff\xfe", "5", "a|b", "6", "", "7", running.id, "junk", "x", "9" * 400
    )
    steadily(worker.running, 1.5, "the worker ended")
    assert running.cancel() is State.RUNNING
    assert yard.wait_ended([running]) == {"cancelled": 1}

    for start in range(0, 20_000, 1_000):
        yard.server.call(
            "HSET", control, *(word for at in range(start, start + 1_000) for word in (f"id-{at}", "1"))
        )
    wait_until(lambda: yard.server.call("EXISTS", control) == 0)
    assert [one.id for one in yard.processes(worker)] == [process.id]
    lives(yard, worker)
    assert worker.stop() == 0
