"""Signing between real programs and workers: what no key of ours has signed never runs, and is never lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from taskq import State, TaskFailed, TaskHandle, TaskQ
from taskq.broker.commands.producing import Envelope
from taskq.codec import CallCodec
from taskq.errors import BadMessage, BadSignature
from taskq.frame import NO_KEYS, FrameCodec
from taskq.inspector import dead
from taskq.inspector.detail import detail
from taskq.inspector.listing import Filter, Row, tasks
from taskq.message import Message, encode_message, seal_message
from taskq.names import new_task_id
from taskq.record import Outcome, encode_outcome
from taskq.signing import KeyRing
from tests.commandline import Taskq, settle_in
from tests.support import wait_until
from tests.workers import Yard

OLD, NEW = f"old:{'o' * 40}", f"new:{'n' * 40}"
KEYS = "TASKQ_SIGNING_KEYS"
TICK = "tests.tests.apps.quick.tick"


def app_of(yard: Yard, keys: str | None, **options: Any) -> TaskQ:
    """A program of its own beside the yard's."""
    return TaskQ("tests", redis_url=yard.server.url, namespace=yard.namespace, signing_keys=keys, **options)


def store(yard: Yard, data: bytes, queue: str = "default", id: str | None = None) -> TaskHandle[Any]:
    """Store bytes as they are, as someone does who can write to the server."""
    broker = yard.app.broker
    [stored] = broker.run(broker.store([Envelope(id or new_task_id(), f"{queue}:5", data)]))
    return yard.app.handle(stored.id)


def rows(yard: Yard, frames: FrameCodec, *states: State) -> list[Row]:
    return yard.app.broker.run(tasks(yard.app.broker.keys, states, frames=frames)).tasks


def forgeries(yard: Yard) -> dict[str, TaskHandle[Any]]:
    """Messages that no key of the ring has signed as they stand, by what the log says of them."""
    frames, id = yard.app.frames, new_task_id()
    good = seal_message(Message(TICK, args=b"\x01\x91\xa3bad"), id, frames)
    other_ring = FrameCodec(yard.namespace, keys=KeyRing({"new": "x" * 40}))
    elsewhere = FrameCodec("other", keys=yard.app.config.signing_keys)
    id_of_other_queue = new_task_id()
    to_gold = seal_message(Message(TICK, "gold"), id_of_other_queue, frames)
    return {
        "the message is not signed": store(yard, encode_message(Message(TICK))),
        "altered": store(yard, good[:-1] + b"D", id=id),
        "another id": store(yard, good),
        "wrong secret": store(yard, seal_message(Message(TICK), id_ := new_task_id(), other_ring), id=id_),
        "namespace": store(yard, seal_message(Message(TICK), id_ := new_task_id(), elsewhere), id=id_),
        "is signed for queue 'gold' and was found in 'default'": store(yard, to_gold, id=id_of_other_queue),
    }


def test_what_was_forged_never_runs_and_its_neighbours_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEYS, f"{NEW},{OLD}")
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick", queues=("default", "gold"), wait=False)
        forged = forgeries(yard)
        good = yard.send_many("quick.tick", [()] * 5)

        assert yard.wait_ended(good) == {"succeeded": 5}
        assert yard.wait_ended([*forged.values()]) == {"failed": len(forged)}
        assert {*yard.ledger.counts()} == {handle.id for handle in good}
        assert yard.server.call("XLEN", yard.app.broker.keys[0].quarantine) == len(forged)
        for reason, handle in forged.items():
            with pytest.raises(TaskFailed, match="BadSignature"):
                handle.result(timeout=5)
            [line] = worker.says(f"task {handle.id} is not run and is quarantined")
            assert reason in line["message"] or "altered, or moved here" in line["message"]
        signatures = [row.signature for row in rows(yard, yard.app.frames, State.FAILED)]
        assert sorted(map(str, signatures)) == ["invalid"] * 5 + ["missing"]

        # Nobody gets them signed by having them requeued.
        broker = yard.app.broker
        done, refused = broker.run(dead.requeue_all(broker.keys, Filter(), 600_000, yard.app.frames))
        assert (done, {*refused}) == ([], {handle.id for handle in forged.values()})
        assert not any(secret.partition(":")[2] in worker.path.read_text() for secret in (NEW, OLD))
        assert worker.stop() == 0


def test_work_signed_with_a_key_that_is_gone_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEYS, OLD)
    with Yard(tmp_path) as yard:
        handles = yard.send_many("quick.tick", [()] * 3)
        monkeypatch.setenv(KEYS, NEW)
        worker = yard.worker("quick")

        wait_until(lambda: yard.states(handles) == {"parked": 3})
        assert len(worker.says("signed with key 'old', and the keys here are new")) == 3
        assert [row.signature for row in rows(yard, NO_KEYS, State.PARKED)] == ["not checked"] * 3
        assert yard.ledger.starts() == []

        monkeypatch.setenv(KEYS, f"{NEW},{OLD}")
        again = yard.worker("quick")
        assert yard.wait_ended(handles, timeout=25) == {"succeeded": 3}
        assert {entry.pid for entry in yard.ledger.starts()} <= {*again.children()}
        for one in (worker, again):
            assert one.stop() == 0
        assert yard.leftovers() == []


def test_a_worker_without_keys_runs_nothing_that_is_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick")
        signed = app_of(yard, NEW).enqueue(TICK)

        wait_until(lambda: signed.status() is State.PARKED)
        assert worker.says("signed with key 'new', and there are no signing keys here")
        unsigned = yard.send("quick.tick")
        assert yard.wait_ended([unsigned]) == {"succeeded": 1}

        monkeypatch.setenv(KEYS, NEW)
        other = yard.worker("quick")
        assert signed.result(timeout=25) is None
        assert [entry.id for entry in yard.ledger.starts()] == [unsigned.id, signed.id]
        for one in (worker, other):
            assert one.stop() == 0


def test_signing_is_introduced_without_losing_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Yard(tmp_path) as yard:
        before = yard.send_many("quick.tick", [()] * 2)
        monkeypatch.setenv(KEYS, NEW)
        monkeypatch.setenv("TASKQ_ACCEPT_UNSIGNED", "1")
        worker = yard.worker("quick")
        signing = app_of(yard, None)
        after = signing.enqueue(TICK)

        assert yard.wait_ended([*before, after]) == {"succeeded": 3}
        assert after.result() is None
        monkeypatch.delenv("TASKQ_ACCEPT_UNSIGNED")
        strict = app_of(yard, None)
        assert strict.handle(before[0].id).result() is None  # the worker has signed what became of it
        assert worker.stop() == 0


def test_a_forged_outcome_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS, NEW)
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick")
        handle, other = yard.send("quick.tick"), yard.send("quick.tick")
        assert yard.wait_ended([handle, other]) == {"succeeded": 2}
        assert (handle.result(), handle.info().signature) == (None, "valid")

        key = yard.app.broker.keys[0].record
        record: bytes = yard.server.call("GET", key(other.id))
        begin = b"|".join(record.split(b"|", 3)[:3]) + b"|"
        for forged in (
            begin + encode_outcome(Outcome(result=b"\x01\xa4evil")),
            record[:-1] + bytes([record[-1] ^ 1]),
            b"F" + record[1:],
            begin,
            yard.server.call("GET", key(handle.id)),
        ):
            yard.server.call("SET", key(other.id), forged, "KEEPTTL")
            with pytest.raises(BadSignature, match=f"task {other.id}: the"):
                yard.app.handle(other.id).result(timeout=5)
            assert yard.app.handle(other.id).info().signature in ("invalid", "missing")
        assert worker.stop() == 0


def test_a_dead_letter_is_signed_anew_by_who_has_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(KEYS, NEW)
    with Yard(tmp_path) as yard:
        worker = yard.worker("outcomes")
        handle = yard.send("outcomes.fail", 9, "no", max_retries=0)
        assert yard.wait_ended([handle]) == {"failed": 1}
        broker, keys = yard.app.broker, yard.app.broker.keys[0]

        with pytest.raises(BadSignature, match=r"signed with key 'new', and there are no signing keys here"):
            broker.run(dead.requeue(keys, "default", handle.id, 600_000))
        shown = broker.run(detail(keys, handle.id))
        assert (shown.signature, shown.args) == ("not checked", [9, "no"])
        assert broker.run(detail(keys, handle.id, yard.app.frames)).signature == "valid"

        settle_in(monkeypatch, tmp_path, yard.server.url, yard.namespace)
        taskq = Taskq(capsys)
        assert "signature not checked" in taskq("dead", "list").out
        assert "there are no signing keys here" in taskq("dead", "requeue", handle.id).err
        monkeypatch.setenv(KEYS, NEW)
        assert "signature" not in taskq("dead", "list").out
        new = yard.app.handle(taskq("dead", "requeue", handle.id, "--json").json["requeued"][0]["id"])
        with pytest.raises(TaskFailed, match="no"):
            new.result(timeout=10)
        assert new.info().origin == handle.id
        assert worker.stop() == 0


class Canary:
    """Touches a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_code_is_loaded_only_where_a_key_has_signed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEYS, NEW)
    monkeypatch.setenv("TASKQ_ACCEPT_UNSIGNED", "1")
    with Yard(tmp_path) as yard:
        worker = yard.worker("outcomes")
        step = 3
        assert yard.app.submit(lambda number: number + step, 4).result(timeout=10) == 7
        echo = yard.app.named("tests.tests.apps.outcomes.echo").using(codec="cloudpickle")
        assert echo.enqueue(len).result(timeout=10) is len

        path = tmp_path / "canary"
        codec = CallCodec(None, pickles=True)
        args, kwargs = codec.encode_call((Canary(path),), {})
        unsigned = store(yard, encode_message(Message("tests.tests.apps.outcomes.echo", args=args)))
        with pytest.raises(TaskFailed, match="loaded only if it is signed"):
            unsigned.result(timeout=10)
        ended = yard.send("outcomes.echo", 1)
        ended.result(timeout=10)
        key = yard.app.broker.keys[0].record(ended.id)
        record: bytes = yard.server.call("GET", key)
        begin = b"|".join(record.split(b"|", 3)[:3]) + b"|"
        forged = begin + encode_outcome(Outcome(result=codec.encode_result(Canary(path))))
        yard.server.call("SET", key, forged, "KEEPTTL")
        with pytest.raises(BadMessage, match="loaded only if it is signed"):
            yard.app.handle(ended.id).result(timeout=5)
        assert (kwargs, path.exists()) == (b"", False)
        assert worker.stop() == 0
