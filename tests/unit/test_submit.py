from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from taskq import ArgumentMismatch, Reject, TaskQ
from taskq.codec import CallCodec
from taskq.errors import SigningRequired
from tests.unit.wire import Sent, WiredApp

HERE = __name__


@dataclasses.dataclass
class Point:
    x: int
    y: int


def move(point: Point, by: int = 1) -> Point:
    return Point(point.x + by, point.y + by)


async def amove(point: Point, by: int = 1) -> Point:
    return move(point, by)


def _private() -> None: ...


def app_with_this_module() -> WiredApp:
    return WiredApp(include=[HERE])


def run(sent: Sent) -> Any:
    """Run a message as a worker does, whose app is another object; give the result as it travels."""
    app = TaskQ("shop", include=[HERE])
    app.freeze()
    task = app.tasks[sent.message.task]
    args, kwargs = task.codec.decode_call(sent.message.args, sent.message.kwargs)
    result = task(*args, **kwargs)
    return task.codec.encode_result(asyncio.run(result) if task.is_async else result)


@pytest.mark.parametrize(("function", "name"), [(move, "shop.taskq.call"), (amove, "shop.taskq.acall")])
def test_a_function_of_an_included_module_runs_by_reference(function: Any, name: str) -> None:
    app = app_with_this_module()
    handle = app.submit(function, Point(1, 2), by=3)
    [sent] = app.wire.sent
    assert (handle.id, sent.message.task, sent.list) == (sent.id, name, "default:5")
    # Arguments and result are what the function's annotations say.
    assert handle.codec.decode_call(sent.message.args, sent.message.kwargs) == ((Point(1, 2),), {"by": 3})
    assert handle.codec.decode_result(run(sent)) == Point(4, 5)


def test_its_async_twin_sends_the_same() -> None:
    app = app_with_this_module()
    asyncio.run(app.asubmit(move, Point(1, 2)))
    assert run(app.wire.sent[0]) == run(app.wire.sent[0])


def test_arguments_are_held_against_its_signature() -> None:
    app: Any = app_with_this_module()
    with pytest.raises(ArgumentMismatch, match="move"):
        app.submit(move)
    with pytest.raises(ArgumentMismatch):
        app.submit(move, Point(1, 2), by=3, to=4)
    assert app.wire.sent == []


def test_a_task_is_enqueued_as_itself() -> None:
    app = WiredApp()
    task = app.task(move, queue="points")
    app.submit(move, Point(1, 2))
    app.submit(task, Point(1, 2))
    assert [(sent.message.task, sent.list) for sent in app.wire.sent] == [(task.name, "points:5")] * 2


def local() -> Any:
    def inner() -> None: ...

    return inner


@pytest.mark.parametrize(
    "function",
    [_private, local(), lambda: 1, len, dataclasses.asdict, Point, Point(1, 2).__eq__, "".join],
)
def test_what_no_worker_finds_has_to_be_signed(function: Any) -> None:
    app = app_with_this_module()
    with pytest.raises(SigningRequired, match="include"):
        app.submit(function)
    assert app.wire.sent == []


def test_without_its_module_in_include_a_function_has_to_be_signed() -> None:
    with pytest.raises(SigningRequired, match=f"{HERE}.move"):
        WiredApp(include=["dataclasses"]).submit(move, Point(1, 2))


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("subprocess", "run"),
        (HERE, "_private"),
        (HERE, "dataclasses.asdict"),
        (HERE, "CallCodec"),
        (HERE, "Point"),
        (HERE, "WiredApp"),
        (HERE, "HERE"),
        (HERE, "no_such"),
        (HERE, "local.inner"),
        (HERE + ".move", "__call__"),
        ("", ""),
    ],
)
def test_a_worker_calls_nothing_else_whatever_a_message_says(module: str, name: str) -> None:
    app = TaskQ("shop", include=[HERE])
    app.freeze()
    nothing = CallCodec(None).encode_call((), {})
    with pytest.raises(Reject, match="no public function"):
        app.tasks["shop.taskq.call"](module, name, *nothing)
    with pytest.raises(Reject):
        asyncio.run(app.tasks["shop.taskq.acall"](module, name, *nothing))


def test_an_app_that_includes_nothing_has_no_such_task() -> None:
    app = TaskQ("shop")
    app.freeze()
    assert app.tasks == {}
