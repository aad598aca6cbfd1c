"""What a worker does with tasks that it does not know, and with bytes that are no tasks."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from taskq import State, TaskFailed, TaskHandle
from taskq.broker.commands.producing import Envelope
from taskq.frame import READS_FRAME
from taskq.message import Message, encode_message
from taskq.names import new_task_id
from tests.hand import Hand
from tests.support import wait_until
from tests.workers import Worker, Yard, steadily

TICK = "tests.tests.apps.quick.tick"


def put(yard: Yard, data: bytes, queue: str = "default") -> TaskHandle[Any]:
    """Store bytes as they are, as some other client might."""
    broker = yard.app.broker
    [stored] = broker.run(broker.store([Envelope(new_task_id(), f"{queue}:5", data)]))
    return yard.app.handle(stored.id)


def good(yard: Yard) -> bytes:
    return encode_message(Message(TICK, created_ms=yard.app.broker.now_ms()))


def runs_on(yard: Yard, worker: Worker, before: list[int]) -> None:
    """See that the worker works as before, in the same processes."""
    yard.wait_ended(yard.send_many("quick.tick", [()] * 20))
    assert worker.children() == before


def test_a_task_that_nobody_knows_is_parked_and_runs_once_somebody_knows_it(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick")
        before = worker.children()
        handles = yard.send_many("deadly.work", [(0,)] * 6)

        wait_until(lambda: yard.states(handles) == {"parked": 6})
        runs_on(yard, worker, before)
        assert len(worker.says("parked until one registers it")) == 6
        assert {(handle.info().failures, handle.info().crashes) for handle in handles} == {(0, 0)}

        other = yard.worker("deadly")
        assert yard.wait_ended(handles, timeout=25) == {"succeeded": 6}
        assert {handle.result() for handle in handles} == {1}
        for one in (worker, other):
            assert one.stop() == 0
        assert yard.leftovers() == []


def test_a_task_that_another_process_knows_goes_round_until_that_one_has_it(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        knows = yard.worker("deadly")
        stranger = yard.worker("quick")
        with knows.paused():
            handles = [yard.send("deadly.work", 0) for _ in range(5)]
            # The claim that it left behind its BLPOP may be given one; what else comes goes round.
            wait_until(lambda: yard.states(handles).get("scheduled", 0) >= 4)

        assert yard.wait_ended(handles, timeout=25) == {"succeeded": 5}
        assert {handle.result() for handle in handles} == {1}
        assert {entry.pid for entry in yard.ledger.starts()} == {*knows.children()}
        for one in (knows, stranger):
            assert one.stop() == 0
        assert yard.leftovers() == []


def test_a_message_of_a_later_release_is_parked_untouched_until_a_worker_reads_it(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick")
        before = worker.children()
        data = b"\x07" + good(yard)[1:]
        handle = put(yard, data)

        wait_until(lambda: handle.status() is State.PARKED)
        runs_on(yard, worker, before)
        assert yard.server.call("GET", yard.app.broker.keys[0].message(handle.id)) == data
        assert worker.stop() == 0

        later = Hand(yard.app.broker, tasks={f"{READS_FRAME}7": "default"})
        assert handle.status() is State.QUEUED
        later.leave()


GARBAGE = {
    "nothing": b"",
    "one byte": b"\x01",
    "no msgpack": b"\x01\x00\xc1\xc1\xc1",
    "no map": b"\x01\x00\x93\x01\x02\x03",
    "no task": b"\x01\x00\x81\xa1q\xa1x",
    "wrong types": b"\x01\x00\x82\xa1t\xa3abc\xa1p\xa3abc",
    "bad name": encode_message(Message("a|b c{}*\n")),
    "long name": encode_message(Message("x" * 10_000)),
    "deep": b"\x01\x00" + b"\x91" * 100_000,
    "text": "výtečně".encode(),
    "pickle": b"\x80\x04\x95.",
}


@pytest.mark.parametrize("case", GARBAGE)
def test_bytes_that_are_no_message_are_dead_lettered_and_their_neighbours_run(
    tmp_path: Path, case: str
) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick", wait=False)
        neighbours = yard.send_many("quick.tick", [()] * 10)
        handle = put(yard, GARBAGE[case])
        neighbours += yard.send_many("quick.tick", [()] * 10)
        yard.wait_ready(worker)
        before = worker.children()

        assert yard.wait_ended(neighbours) == {"succeeded": 20}
        with pytest.raises(TaskFailed):
            handle.result(timeout=5)
        assert yard.server.call("XLEN", yard.app.broker.keys[0].quarantine) == 1
        assert worker.children() == before
        assert worker.stop() == 0
        assert yard.leftovers() == []


@pytest.mark.parametrize(
    "args", [b"\xc1", b"\x00" * 10, b"\x91" * 50_000, b"junk"], ids=["c1", "nul", "deep", "text"]
)
def test_arguments_that_cannot_be_read_fail_for_good(tmp_path: Path, args: bytes) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick")
        before = worker.children()
        handle = put(yard, encode_message(Message(TICK, args=args)))

        with pytest.raises(TaskFailed):
            handle.result(timeout=5)
        assert handle.info().attempt == 1
        runs_on(yard, worker, before)
        assert worker.stop() == 0


def test_a_record_that_is_no_record_costs_one_quarantine_entry(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick", wait=False)
        handles = yard.send_many("quick.tick", [()] * 9)
        keys = yard.app.broker.keys[0]
        yard.server.call("SET", keys.record(handles[4].id), "\xff\xfe not a record")
        yard.wait_ready(worker)

        yard.wait_ended(handles[:4] + handles[5:])
        assert yard.server.call("XLEN", keys.quarantine) == 1
        assert not yard.ledger.starts(handles[4].id)
        assert worker.stop() == 0


def test_a_wrong_type_where_a_process_keeps_its_holds_costs_it_its_name_only(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick")
        children = worker.children()
        [before] = yard.processes(worker)
        key = yard.app.broker.keys[0].held(before.id)
        yard.server.call("DEL", key)
        yard.server.call("SET", key, "junk")

        handles = [yard.send("quick.tick") for _ in range(10)]

        assert yard.wait_ended(handles) == {"succeeded": 10}
        assert {handle.info().process for handle in handles}.isdisjoint({before.id})
        steadily(lambda: worker.children() == children, 1, "the process was replaced")
        assert worker.stop() == 0


def test_a_wrong_type_at_the_holds_of_one_dead_process_keeps_no_other_from_being_taken_back(
    tmp_path: Path,
) -> None:
    """The first estate cannot be read; the second is a dead process like any other."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick", concurrency=1)
        [child] = worker.children()
        [before] = yard.processes(worker)
        key = yard.app.broker.keys[0].held(before.id)
        os.kill(child, signal.SIGSTOP)
        yard.server.call("DEL", key)
        yard.server.call("SET", key, "junk")
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: worker.children() not in ([], [child]), message=worker.tail)
        handle = yard.send("quick.hold", 0.7)
        [start] = yard.ledger.wait("start", handle.id)

        os.kill(start.pid, signal.SIGKILL)

        second = yard.ledger.wait("start", handle.id, count=2)[1]
        assert second.at - start.at < 1.7
        handle.result(timeout=10)
        assert worker.stop() == 0
