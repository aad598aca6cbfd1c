"""What travels in the place of large payloads."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from taskq import State, TaskQ
from taskq.errors import (
    ConfigurationError,
    PayloadMismatch,
    PayloadTooLarge,
    PayloadUnavailable,
    TaskFailed,
)
from taskq.frame import FrameCodec, UnknownFrame, split
from taskq.message import Message, bring_back, open_message, seal_message, set_aside
from taskq.payloads import Payloads, Reference, owner_of
from taskq.stores import check_name
from taskq.testing.store import MemoryStore

BIG = os.urandom(5_000)
KEYS = "k1:" + "s" * 40


# -- references


def payloads(store: Any = None, **options: Any) -> Payloads:
    return Payloads(store or MemoryStore(), options.pop("max_payload", 1 << 20), 1_000, **options)


@pytest.mark.parametrize("compress_over", [None, 100])
def test_arguments_come_back_as_they_went(compress_over: int | None) -> None:
    store = MemoryStore()
    there = payloads(store, compress_over=compress_over)
    message = Message("t", args=b"a" * 50_000, kwargs=b"k", tags=["x"])
    sent, aside = set_aside(message, "id", there)
    there.put(aside)

    assert (sent.args, sent.kwargs, sent.tags) == (b"", b"", ["x"])
    assert owner_of(aside.reference.name) == "id"
    assert check_name(aside.reference.name)
    assert (len(store.objects[aside.reference.name]) < 1_000) == (compress_over is not None)
    bring_back(sent, "id", there)
    assert (sent.args, sent.kwargs) == (message.args, message.kwargs)


def changed(reference: Reference, **fields: Any) -> Reference:
    kept = {name: getattr(reference, name) for name in Reference.__struct_fields__}
    return Reference(**{**kept, **fields})


def test_an_object_that_is_not_what_was_stored_is_refused() -> None:
    store = MemoryStore()
    there = payloads(store)
    aside = there.aside(BIG, "message", "id")
    there.put(aside)
    good = aside.reference
    assert there.get(good, "id") == BIG

    for reference, id, said in [
        (good, "other", "belongs to another task"),
        (changed(good, size=good.size - 1), "id", "not what was stored"),
        (changed(good, sha256=bytes(32)), "id", "not what was stored"),
        (changed(good, compressed=True), "id", "not to be used"),
        (changed(good, size=-1), "id", "max_payload"),
    ]:
        with pytest.raises(PayloadMismatch, match=said):
            there.get(reference, id)
    store.objects[good.name] = BIG[:-1] + bytes((BIG[-1] ^ 1,))
    with pytest.raises(PayloadMismatch, match="not what was stored"):
        there.get(good, "id")


def test_what_is_too_large_is_neither_stored_nor_fetched() -> None:
    store = MemoryStore()
    there, small = payloads(store), payloads(store, max_payload=2_000)
    with pytest.raises(PayloadTooLarge, match="offloaded or not"):
        small.aside(BIG, "message", "id")
    aside = there.aside(BIG, "message", "id")
    store.get = lambda *_: pytest.fail("it was fetched")  # type: ignore[method-assign]
    with pytest.raises(PayloadMismatch, match="not fetched"):
        small.get(aside.reference, "id")


def test_a_bomb_does_not_unfold() -> None:
    store = MemoryStore()
    writer, reader = payloads(store, compress_over=10), payloads(store, max_payload=10_000)
    aside = writer.aside(bytes(500_000), "message", "id")
    writer.put(aside)
    assert aside.reference.size < 10_000
    with pytest.raises(PayloadMismatch, match="max_payload allows 10,000"):
        reader.get(aside.reference, "id")


def test_an_older_release_does_not_run_a_task_without_its_arguments() -> None:
    frames = FrameCodec()
    sent, _ = set_aside(Message("t", args=BIG), "id", payloads())
    data = seal_message(sent, "id", frames)
    assert split(data).flags == 4
    assert open_message(data, "id", None, frames)[0].payload == sent.payload
    with pytest.raises(UnknownFrame):
        split(bytes((data[0], 8)) + data[2:])  # as a release without the flag reads it


def test_nothing_is_offloaded_to_nowhere() -> None:
    with pytest.raises(ConfigurationError, match="no store is named"):
        TaskQ("shop", offload_over="1KB")
    app = TaskQ("shop")
    with pytest.raises(ConfigurationError, match="no store is named"):
        app.task(name="clock", offload_over=1)(time.time)
    with pytest.raises(PayloadUnavailable, match="TASKQ_OFFLOAD_TO"):
        Payloads(None, 100).get(Reference("id~m0", 1, b""), "id")


def test_the_environment_counts_more_than_the_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TASKQ_OFFLOAD_OVER", "2KB")
    monkeypatch.setenv("TASKQ_OFFLOAD_TO", tmp_path.as_uri())
    app = TaskQ("shop", offload_over=1, offload_to="file:///nowhere")
    assert (app.config.offload_over, app.config.offload_to) == (2_048, tmp_path.as_uri())


# -- in the testing kit


def shop(folder: Path, **options: Any) -> TaskQ:
    return TaskQ("shop", offload_over="1KB", offload_to=folder.as_uri(), **options)


@pytest.mark.parametrize("mode", ["inline", "queued"])
@pytest.mark.parametrize("keys", [None, KEYS])
def test_tests_run_with_large_calls_and_leave_the_real_store_alone(
    tmp_path: Path, mode: Any, keys: str | None
) -> None:
    app = shop(tmp_path / "real", signing_keys=keys)

    @app.task
    def double(data: bytes) -> bytes:
        return data * 2

    @app.task
    async def adouble(data: bytes) -> bytes:
        return data * 2

    with app.testing(mode) as t:
        handles = [double.enqueue(BIG), adouble.enqueue(BIG)]
        handles += [one.get() for one in double.enqueue_many([(BIG,), (b"small",)])]
        t.run()
        assert [handle.result() for handle in handles] == [BIG * 2] * 3 + [b"small" * 2]
        assert [call.args for call in t.enqueued(double)] == [(BIG,), (BIG,), (b"small",)]
    assert not (tmp_path / "real").exists()


def test_async_programs_store_and_fetch_beside_their_loop(tmp_path: Path) -> None:
    app = shop(tmp_path)
    used: set[str] = set()

    class Watched(MemoryStore):
        def put(self, name: str, content: bytes) -> None:
            used.add(threading.current_thread().name)
            super().put(name, content)

        def get(self, name: str, limit: int) -> bytes:
            used.add(threading.current_thread().name)
            return super().get(name, limit)

    @app.task
    async def double(data: bytes) -> bytes:
        return data * 2

    async def main() -> None:
        async with app.testing() as t:
            app.payloads.store = Watched()
            handle = await double.aenqueue(BIG)
            [many] = await double.aenqueue_many([(BIG,)])
            await t.arun()
            assert await handle.aresult() == await many.get().aresult() == BIG * 2

    asyncio.run(main())
    assert used
    assert threading.main_thread().name not in used


class Moody(MemoryStore):
    """Fails as often as it is told to."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def put(self, name: str, content: bytes) -> None:
        if self.failures:
            self.failures -= 1
            raise PayloadUnavailable("it is out of order")
        super().put(name, content)


def test_what_cannot_be_stored_is_not_sent(tmp_path: Path) -> None:
    app = shop(tmp_path)

    @app.task
    def double(data: bytes) -> bytes:
        return data * 2

    with app.testing() as t:
        app.payloads.store = Moody(2)
        with pytest.raises(PayloadUnavailable):
            double.enqueue(BIG)
        outcomes = double.enqueue_many([(b"small",), (BIG,), (BIG,)])
        assert [type(one.error) for one in outcomes] == [type(None), PayloadUnavailable, type(None)]
        assert len(t.enqueued(double)) == 2


def test_a_result_that_cannot_be_stored_is_tried_again(tmp_path: Path) -> None:
    app = shop(tmp_path)
    runs: list[int] = []

    @app.task
    def grow() -> bytes:
        runs.append(1)
        return BIG

    with app.testing() as t:
        app.payloads.store = Moody(2)
        handle = grow.enqueue()
        t.advance("1m")
        assert (handle.result(), len(runs)) == (BIG, 3)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_payload_that_is_gone_fails_its_task_at_once(tmp_path: Path, kind: str) -> None:
    app = shop(tmp_path)

    @app.task
    def double(data: bytes) -> bytes:
        raise AssertionError

    @app.task
    async def adouble(data: bytes) -> bytes:
        raise AssertionError

    with app.testing() as t:
        store = app.payloads.store = MemoryStore()
        handle = (double if kind == "sync" else adouble).enqueue(BIG)
        store.objects.clear()
        t.run()
        assert handle.status() is State.FAILED
        with pytest.raises(TaskFailed, match="PayloadMissing"):
            handle.result()


def test_what_is_secret_is_masked_wherever_it_lies(tmp_path: Path) -> None:
    app = shop(tmp_path)

    @app.task(max_retries=0)
    def log_in(password: str, data: bytes) -> None:
        raise ValueError(f"{password} is wrong")

    with app.testing() as t:
        handle = log_in.enqueue("swordfish", BIG)
        t.run()
        with pytest.raises(TaskFailed, match="<secret> is wrong") as caught:
            handle.result()
        assert "swordfish" not in caught.value.traceback
