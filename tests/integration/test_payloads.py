"""Large payloads between real programs and workers: only a reference travels, and no object outlives its task."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq import State, TaskFailed, TaskHandle, TaskQ
from taskq.broker.commands import reading
from taskq.inspector import dead
from taskq.inspector.listing import Filter
from taskq.inspector.payloads import Swept, sweep
from taskq.names import new_task_id
from taskq.record import parse_record
from tests.apps import ledger
from tests.commandline import Taskq, settle_in
from tests.support import wait_until
from tests.workers import Yard

BIG = os.urandom(300_000)
KEYS = "k1:" + "s" * 40


class Store:
    """The folder as the tests see it."""

    def __init__(self, root: Path, namespace: str) -> None:
        self.folder = root / f"{namespace}.payloads"

    def names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if not path.name.startswith("+"))

    def of(self, handle: TaskHandle[object]) -> list[Path]:
        return [self.folder / name for name in self.names() if name.startswith(f"{handle.id}~")]

    def grow_old(self) -> None:
        then = time.time() - 7_200
        for name in self.names():
            os.utime(self.folder / name, (then, then))


class Place(Yard):
    """A yard with a store, whose app offloads what its workers do."""

    store: Store

    def sweep(self, *, dry_run: bool = False) -> Swept:
        return self.app.broker.run(sweep(self.app.payloads, self.app.broker.namespace, dry_run=dry_run))

    def forget(self, handle: TaskHandle[object]) -> None:
        """Let the time of a record be over."""
        keys = self.app.broker.keys_of(handle.id)
        self.server.call("DEL", keys.record(handle.id), keys.message(handle.id))

    def size_of(self, handle: TaskHandle[object]) -> int:
        """How many bytes the server keeps of a task."""
        keys = self.app.broker.keys_of(handle.id)
        [(record, message)] = self.app.broker.call(reading.lookup(keys, [handle.id]))
        return len(record or b"") + len(message or b"")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("TASKQ_OFFLOAD_TO", (tmp_path / "payloads").as_uri())
    monkeypatch.setenv("TASKQ_OFFLOAD_OVER", "1KB")
    with Place(tmp_path) as place:
        place.store = Store(tmp_path / "payloads", place.namespace)
        yield place


@pytest.mark.parametrize("keys", [None, KEYS])
@pytest.mark.parametrize("task", ["large.double", "large.adouble"])
def test_large_arguments_and_results_travel_beside_the_server(
    place: Place, monkeypatch: pytest.MonkeyPatch, task: str, keys: str | None
) -> None:
    if keys:
        monkeypatch.setenv("TASKQ_SIGNING_KEYS", keys)
    handle = place.send(task, BIG)
    [sent] = place.store.of(handle)
    assert sent.stat().st_size > len(BIG)
    assert place.size_of(handle) < 500
    worker = place.worker("large")

    assert handle.result(timeout=15) == BIG * 2
    assert place.size_of(handle) < 500
    wait_until(lambda: [path for path in place.store.of(handle) if "~m" in path.name] == [])
    [result] = place.store.of(handle)
    assert "~o" in result.name

    place.forget(handle)
    place.store.grow_old()
    assert place.sweep().removed == 1
    assert place.store.names() == []
    assert worker.stop() == 0
    assert place.leftovers() == []


def test_many_large_calls_run_beside_small_ones_and_leave_nothing(place: Place) -> None:
    place.worker("large", processes=2)

    async def main() -> list[TaskHandle[object]]:
        sender = place.app.named("tests.tests.apps.large.double", "default")
        calls = [(bytes([number]) * (5 if number % 2 else 20_000),) for number in range(60)]
        many = [one.get() for one in await sender.aenqueue_many(calls[:30])]
        single = await asyncio.gather(*(sender.aenqueue(*call) for call in calls[30:]))
        await place.app.aclose()
        return many + single

    handles = asyncio.run(main())
    assert place.wait_ended(handles) == {"succeeded": 60}
    for number, handle in enumerate(handles):
        assert handle.result(timeout=5) == bytes([number]) * (10 if number % 2 else 40_000)
    wait_until(lambda: len(place.store.names()) == 30)  # the results
    assert all("~o" in name for name in place.store.names())


def test_a_worker_that_is_killed_has_lost_no_payload(place: Place) -> None:
    worker = place.worker("large")
    handle = place.send("large.kill_once", BIG, 30.0)
    place.ledger.wait("start", handle.id)
    for pid in worker.children():
        os.kill(pid, signal.SIGKILL)

    assert handle.result(timeout=20) == BIG
    assert len(place.ledger.starts(handle.id)) == 2
    assert worker.stop() == 0
    assert all("~o" in name for name in place.store.names())


def test_retries_keep_the_arguments_and_the_end_removes_them(place: Place) -> None:
    worker = place.worker("large")
    handle = place.send("large.third_time", BIG)

    assert handle.result(timeout=15) == len(BIG)
    assert len(place.ledger.starts(handle.id)) == 3
    wait_until(lambda: place.store.names() == [])
    assert worker.stop() == 0


def test_a_process_that_ends_at_once_removes_what_it_has_settled(place: Place) -> None:
    handles = place.send_many("large.third_time", [(BIG,)] * 5)
    worker = place.worker("large", wait=False, burst=True)
    assert place.wait_ended(handles) == {"succeeded": 5}
    assert worker.wait() == 0
    assert place.store.names() == []


def test_what_is_settled_at_its_start_still_gets_its_arguments(place: Place) -> None:
    place.worker("large")
    handle = place.send("large.early", BIG)
    [end] = place.ledger.wait("end", handle.id)
    assert place.ledger.starts(handle.id)[0].words == (str(len(BIG)),)
    assert end.attempt == 1
    wait_until(lambda: place.store.names() == [])


def test_a_sweep_leaves_what_waits_what_is_dead_and_what_is_kept(place: Place) -> None:
    worker = place.worker("large")
    dead_one, kept = place.send("large.fail", BIG), place.send("large.keep", BIG)
    assert place.wait_ended([dead_one, kept]) == {"failed": 1, "succeeded": 1}
    assert worker.stop() == 0
    waiting, later = place.send("large.double", BIG), place.send("large.double", BIG, delay=3_600)
    gone, cancelled = place.send("large.double", BIG), place.send("large.double", BIG)
    cancelled.cancel()
    place.forget(gone)

    assert place.sweep() == Swept(0, 0, 0)  # all of it is young
    place.store.grow_old()
    found = place.sweep(dry_run=True)
    assert (found.looked, found.removed) == (6, 1)
    assert found.bytes > len(BIG)
    assert place.store.of(gone)

    assert place.sweep() == found
    assert place.store.of(gone) == []
    for handle in (dead_one, kept, waiting, later, cancelled):
        assert place.store.of(handle), handle

    for handle in (dead_one, kept, later, cancelled):
        place.forget(handle)
    assert place.sweep().removed == 4
    assert place.store.names() == [path.name for path in place.store.of(waiting)]


def test_a_server_that_does_not_know_the_namespace_has_nothing_swept(place: Place) -> None:
    place.send("large.double", BIG)
    place.store.grow_old()
    place.server.call("FLUSHALL")
    with pytest.raises(Exception, match="nothing is swept"):
        place.sweep()
    assert len(place.store.names()) == 1


@pytest.mark.parametrize("keys", [None, KEYS])
def test_who_alters_the_object_has_nothing_run(
    place: Place, monkeypatch: pytest.MonkeyPatch, keys: str | None
) -> None:
    if keys:
        monkeypatch.setenv("TASKQ_SIGNING_KEYS", keys)
    altered, cut, exchanged, other = (place.send("large.double", BIG) for _ in range(4))
    [path] = place.store.of(altered)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes((content[-1] ^ 1,)))
    [path] = place.store.of(cut)
    path.write_bytes(path.read_bytes()[:-1])
    [path] = place.store.of(exchanged)
    path.write_bytes(b"\x92\xc4\x04\x01\x91\xa1x\xc4\x00")
    place.worker("large")

    for handle in (altered, cut, exchanged):
        with pytest.raises(TaskFailed, match="PayloadMismatch"):
            handle.result(timeout=15)
        assert place.store.of(handle)  # a dead letter keeps it
        assert place.ledger.starts(handle.id) == []
    assert other.result(timeout=15) == BIG * 2
    broker = place.app.broker
    done, refused = broker.run(
        dead.requeue_all(broker.keys, Filter(), 600_000, place.app.frames, place.app.payloads)
    )
    assert (done, {*refused}) == ([], {altered.id, cut.id, exchanged.id})


def test_an_object_that_is_gone_makes_a_dead_letter_that_says_so(place: Place) -> None:
    handle = place.send("large.double", BIG)
    [path] = place.store.of(handle)
    path.unlink()
    place.worker("large")

    with pytest.raises(TaskFailed, match=r"PayloadMissing.*has no"):
        handle.result(timeout=15)
    info = handle.info()
    assert (info.state, info.attempt) == (State.FAILED, 1)  # it would not come back


def test_a_store_that_is_away_for_a_while_loses_nothing(place: Place) -> None:
    handle = place.send("large.double", BIG)
    away = place.store.folder.with_name("away")
    place.store.folder.rename(away)
    worker = place.worker("large")
    wait_until(lambda: worker.says("PayloadUnavailable"))
    away.rename(place.store.folder)

    assert handle.result(timeout=20) == BIG * 2
    assert len(place.ledger.starts(handle.id)) == 1


def test_a_requeued_task_has_arguments_of_its_own(place: Place) -> None:
    worker = place.worker("large")
    old = place.send("large.fail", BIG)
    assert place.wait_ended([old]) == {"failed": 1}
    [path] = place.store.of(old)
    broker = place.app.broker
    done, refused = broker.run(
        dead.requeue_all(broker.keys, Filter(), 600_000, place.app.frames, place.app.payloads)
    )
    assert refused == {}
    assert not path.exists()
    place.forget(old)
    place.store.grow_old()
    place.sweep()

    again = place.app.handle(done[0].id)
    assert place.wait_ended([again]) == {"failed": 1}
    with pytest.raises(TaskFailed, match="ValueError: 300000"):
        again.result(timeout=5)
    assert worker.stop() == 0


def test_a_worker_without_a_store_leaves_the_work_to_one_that_has_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, small = place.send("large.double", BIG), place.send("quick.tick")
    where = os.environ["TASKQ_OFFLOAD_TO"]
    monkeypatch.delenv("TASKQ_OFFLOAD_TO")
    monkeypatch.delenv("TASKQ_OFFLOAD_OVER")
    poor = place.worker("quick")
    assert place.wait_ended([small]) == {"succeeded": 1}
    wait_until(lambda: handle.status() is State.PARKED)
    assert poor.says("waits for a worker with a store")

    monkeypatch.setenv("TASKQ_OFFLOAD_TO", where)
    place.worker("large")
    assert handle.result(timeout=15) == BIG * 2


def test_a_program_without_the_store_is_told_what_it_lacks(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.worker("large")
    handle = place.send("large.double", BIG)
    assert place.wait_ended([handle]) == {"succeeded": 1}
    monkeypatch.delenv("TASKQ_OFFLOAD_TO")
    monkeypatch.delenv("TASKQ_OFFLOAD_OVER")
    poor = TaskQ("tests", redis_url=place.server.url, namespace=place.namespace)
    with pytest.raises(Exception, match="TASKQ_OFFLOAD_TO"):
        poor.handle(handle.id).result(timeout=5)
    poor.close()


def test_the_command_line_shows_fetches_and_sweeps(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    handle = place.send("large.double", b"x" * 5_000)
    lost = place.send("large.fail", BIG)
    where = os.environ["TASKQ_OFFLOAD_TO"]
    worker = place.worker("large")
    assert place.wait_ended([handle, lost]) == {"succeeded": 1, "failed": 1}
    assert worker.stop() == 0
    settle_in(monkeypatch, tmp_path, place.server.url, place.namespace)
    taskq = Taskq(capsys)

    shown = taskq("task", lost.id)
    [kept] = place.store.of(lost)
    assert f"offloaded, {kept.stat().st_size:,} bytes, {kept.name}" in shown.out
    assert taskq("task", handle.id, "--json").json["result_offloaded"]["size"] > 10_000
    for command in (("result", handle.id), ("payloads", "sweep"), ("dead", "requeue", lost.id)):
        said = taskq(*command)
        assert said.code != 0
        assert "TASKQ_OFFLOAD_TO" in said.err
    monkeypatch.setenv("TASKQ_OFFLOAD_TO", where)
    assert taskq("result", handle.id, "--json").json["result"].startswith("b'xxx")

    place.store.grow_old()
    place.forget(handle)
    assert taskq("payloads", "sweep", "--dry-run", "--json").json["removed"] == 1
    assert "1 object (" in taskq("payloads", "sweep").out
    assert taskq("payloads", "sweep", "--older", "1m").code == 2

    app = "tests.apps.large:app"
    assert taskq("compat", app, "--app-dir", str(Path(__file__).parents[2])).code == 0
    monkeypatch.setenv(ledger.VARIABLE, str(place.ledger.path))
    replayed = taskq("replay", lost.id, "-A", app, "--app-dir", str(Path(__file__).parents[2]))
    assert "ValueError: 300000" in replayed.err
    assert taskq("dead", "requeue", lost.id).code == 0
    [path] = [name for name in place.store.names() if "~m" in name]
    (place.store.folder / path).unlink()
    said = taskq("compat", app, "--app-dir", str(Path(__file__).parents[2]))
    assert said.code == 1
    assert "its payload is lost" in said.out


def test_of_an_id_that_was_taken_the_first_payload_counts(place: Place) -> None:
    id = new_task_id()
    first = place.send("large.double", BIG, id=id)
    second = place.send("large.double", BIG[::-1], id=id)
    assert (first.created, second.created) == (True, False)
    place.worker("large")

    assert first.result(timeout=15) == BIG * 2
    place.store.grow_old()
    place.forget(first)
    place.sweep()
    assert place.store.names() == []


def test_the_outcome_says_where_the_result_lies_and_nothing_of_it(place: Place) -> None:
    place.worker("large")
    handle = place.send("large.double", b"secret" * 500)
    assert place.wait_ended([handle]) == {"succeeded": 1}
    keys = place.app.broker.keys_of(handle.id)
    [(record, _)] = place.app.broker.call(reading.lookup(keys, [handle.id]))
    assert record is not None
    assert b"secret" not in record
    assert parse_record(record).is_offloaded
