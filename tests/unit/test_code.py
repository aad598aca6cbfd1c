"""Values that travel as code: with keys only, and loaded only where they were signed."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from taskq import TaskGroup, TaskQ
from taskq.codec import CallCodec, code
from taskq.errors import ArgumentMismatch, BadMessage, ConfigurationError, NotEncodable, SigningRequired
from taskq.inspector.plain import decode_plain
from tests.unit.wire import WiredApp

KEYS = {"k": "k" * 40}


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def work(value: Any, by: int = 1) -> Any:
    return value, by


def test_what_is_pickled_arrives_with_its_code() -> None:
    codec = CallCodec(work, pickles=True)
    step = 3
    args, kwargs = codec.encode_call((lambda number: number + step,), {"by": 2})

    (function,), named = CallCodec(work).decode_call(args, kwargs, trusted=True)

    assert (function(4), named, kwargs) == (7, {"by": 2}, b"")
    assert codec.decode_result(codec.encode_result(function), trusted=True)(4) == 7
    assert codec.decode_result(codec.encode_result(None)) is None


def test_nothing_is_loaded_that_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "canary"
    codec = CallCodec(work, pickles=True)
    args, kwargs = codec.encode_call((Canary(path),), {})
    result = codec.encode_result(Canary(path))

    for reader in (codec, CallCodec(work), CallCodec(None)):
        with pytest.raises(BadMessage, match="cloudpickle, which is loaded only if it is signed"):
            reader.decode_call(args, kwargs)
        with pytest.raises(BadMessage, match="loaded only if it is signed"):
            reader.decode_result(result)
    assert decode_plain(result) == f"<pickled, {len(result):,} bytes>"
    assert not path.exists()
    codec.decode_result(result, trusted=True)
    assert path.exists()


def test_another_python_is_told_and_loads_nothing() -> None:
    data = CallCodec(work, pickles=True).encode_result({1})
    other = data[:2] + bytes([sys.version_info[1] + 1]) + data[3:]

    with pytest.raises(BadMessage, match=r"pickled by Python 3\.\d+, and this is 3\.\d+: give"):
        code.load(other)
    for broken in (data[:-3], data[:3], code.PICKLE, data[:3] + b"cnowhere\nthing\n."):
        with pytest.raises(BadMessage):
            code.load(broken)


def test_what_cannot_be_pickled_or_does_not_fit_is_told_at_the_call() -> None:
    codec = CallCodec(work, pickles=True)

    with pytest.raises(NotEncodable, match="the call cannot be pickled"):
        codec.encode_call((threading.Lock(),), {})
    with pytest.raises(ArgumentMismatch):
        codec.encode_call((), {"nobody": 1})


def test_code_is_refused_without_keys_where_it_is_declared_or_sent() -> None:
    app, group = TaskQ("shop"), TaskGroup("lib")
    group.task(work, name="lib.work", codec="cloudpickle")
    plain = app.task(work, name="plain")

    with pytest.raises(SigningRequired, match="set TASKQ_SIGNING_KEYS"):
        app.task(work, codec="cloudpickle")
    with pytest.raises(SigningRequired):
        app.include(group)
    with pytest.raises(SigningRequired):
        plain.using(codec="cloudpickle")
    with pytest.raises(SigningRequired, match="TASKQ_SIGNING_KEYS"):
        app.submit(lambda: 1)
    with pytest.raises(ConfigurationError, match="it is 'msgpack' or 'cloudpickle'"):
        app.task(work, codec="pickle")  # type: ignore[call-overload]


def test_a_function_that_no_worker_finds_is_sent_itself_where_there_are_keys() -> None:
    app, step = WiredApp(signing_keys=KEYS), 3

    async def later(number: int) -> int:
        return number * step

    app.submit(lambda number: number + step, 4)
    app.submit(later, 4)
    with pytest.raises(ArgumentMismatch):
        app.submit(lambda number: number)  # type: ignore[call-overload]

    found: list[Any] = []
    for sent in app.wire.sent:
        worker = TaskQ("shop", signing_keys=KEYS)
        worker.freeze()
        task = worker.tasks[sent.message.task]
        args, kwargs = task.codec.decode_call(sent.message.args, sent.message.kwargs, trusted=True)
        result = task.function(*args, **kwargs)
        found.append(asyncio.run(result) if task.is_async else result)
    assert [sent.message.task for sent in app.wire.sent] == ["shop.taskq.run", "shop.taskq.arun"]
    assert found == [7, 12]


def test_a_call_may_be_pickled_and_the_next_not() -> None:
    app = WiredApp(signing_keys=KEYS)
    task = app.task(work, name="work")
    pickled = app.task(work, name="pickled", codec="cloudpickle")

    task.using(codec="cloudpickle").enqueue(1)
    task.enqueue(1)
    pickled.enqueue(1)
    pickled.using(codec="msgpack").enqueue(1)

    assert [sent.message.args[:1] for sent in app.wire.sent] == [b"\x02", b"\x01", b"\x02", b"\x01"]


def test_in_a_test_of_a_user_code_travels_as_it_does_to_a_worker() -> None:
    app = TaskQ("shop", signing_keys=KEYS)
    task = app.task(work, name="work")
    with app.testing() as t:
        handle = task.using(codec="cloudpickle").enqueue({1: len})
        t.run()
        assert handle.result() == ({1: len}, 1)
        assert handle.info().signature == "valid"
