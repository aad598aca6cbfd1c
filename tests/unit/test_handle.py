from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from taskq import State, TaskHandle, as_completed, wait
from taskq.codec import CallCodec
from taskq.context import CURRENT
from taskq.errors import (
    BlockingInTask,
    ResultExpired,
    ResultNotStored,
    ResultTimeout,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TaskNotFound,
    TaskqError,
)
from taskq.message import Message, encode_message
from taskq.record import Outcome, RemoteError, encode_outcome
from tests.unit.test_context import context_of, task_with
from tests.unit.wire import NOW_MS, WiredApp, says

NOW = datetime.fromtimestamp(NOW_MS / 1_000, UTC)


def add(a: int, b: int = 0) -> int:
    return a + b


def ended(state: str, **outcome: Any) -> bytes:
    return f"{state}|7|p1|".encode() + encode_outcome(Outcome(**outcome))


class Stored:
    """A task on a server that is not there: what MGET finds, and what `wait` says."""

    def __init__(self, record: bytes | None = None, message: bytes | None = None) -> None:
        self.app = WiredApp()
        self.task = self.app.task(add, name="add")
        self.app.wire.replies["MGET"] = says([record, message])
        self.app.wire.replies["wait"] = says([record])
        self.handle: TaskHandle[int] = self.task.handle("0-1")

    def looks(self) -> list[str]:
        return [command.name for command in self.app.wire.commands if command.name not in ("init", "TIME")]


MESSAGE = encode_message(
    Message(
        "add",
        "sums",
        7,
        *CallCodec(add).encode_call((1,), {"b": 2}),
        created_ms=NOW_MS,
        headers={"trace": "1"},
        tags=["nightly"],
        origin="0-0",
    )
)


class TestStatus:
    @pytest.mark.parametrize(
        ("record", "message", "state"),
        [
            (None, MESSAGE, State.QUEUED),
            (b"w|0||sums:7|0|0|", MESSAGE, State.SCHEDULED),
            (b"q|7||sums:7|1|0|", MESSAGE, State.QUEUED),
            (b"r|7|p1|sums:7|1|0|", MESSAGE, State.RUNNING),
            (b"p|7|add|sums:7|0|0|", MESSAGE, State.PARKED),
            (ended("S"), None, State.SUCCEEDED),
            (ended("F"), MESSAGE, State.FAILED),
            (b"C|0||", None, State.CANCELLED),
            (b"E|0||", None, State.EXPIRED),
        ],
    )
    def test_it_is_what_the_record_says(
        self, record: bytes | None, message: bytes | None, state: State
    ) -> None:
        stored = Stored(record, message)
        assert stored.handle.status() is state
        assert stored.handle.ready() is state.ended
        assert asyncio.run(stored.handle.astatus()) is state
        assert asyncio.run(stored.handle.aready()) is state.ended

    def test_an_id_of_which_nothing_is_known_is_an_error(self) -> None:
        handle = Stored().handle
        for look in (handle.status, handle.ready, handle.info):
            with pytest.raises(TaskNotFound, match="0-1") as caught:
                look()
            assert not isinstance(caught.value, ResultExpired)


class TestInfo:
    def test_a_queued_task(self) -> None:
        info = Stored(None, MESSAGE).handle.info()
        assert (info.id, info.state, info.task) == ("0-1", State.QUEUED, "add")
        assert (info.queue, info.priority, info.attempt) == ("sums", 7, 1)
        assert (info.args, info.kwargs) == ((1,), {"b": 2})
        assert (info.headers, info.tags, info.origin) == ({"trace": "1"}, ("nightly",), "0-0")
        assert info.created == NOW
        assert (info.process, info.due, info.started, info.took, info.error) == (None,) * 5

    def test_a_scheduled_task_is_due(self) -> None:
        stored = Stored(b"w|0||sums:7|1|0|", MESSAGE)
        stored.app.wire.replies["ZSCORE"] = says(str(NOW_MS).encode())
        info = asyncio.run(stored.handle.ainfo())
        assert (info.state, info.due, info.failures, info.attempt) == (State.SCHEDULED, NOW, 1, 2)

    def test_a_running_task(self) -> None:
        info = Stored(b"r|7|p1|moved:9|2|1|c", MESSAGE).handle.info()
        assert (info.queue, info.priority) == ("moved", 9)
        assert (info.failures, info.crashes, info.attempt, info.process) == (2, 1, 4, "p1")

    def test_a_task_that_succeeded(self) -> None:
        outcome = {"started_ms": NOW_MS, "took_ms": 1_500.0, "attempt": 2, "task": "add", "process": "p1"}
        info = Stored(ended("S", **outcome)).handle.info()
        assert (info.state, info.task, info.attempt, info.process) == (State.SUCCEEDED, "add", 2, "p1")
        assert (info.started, info.took) == (NOW, 1.5)
        assert (info.args, info.queue, info.failures) == (None, None, None)

    def test_a_task_that_failed(self) -> None:
        error = RemoteError("builtins.OSError", "disk", "Traceback …")
        info = Stored(ended("F", error=error, attempt=6), MESSAGE).handle.info()
        assert (info.state, info.attempt, info.error) == (State.FAILED, 6, error)
        assert (info.args, info.queue) == ((1,), "sums")

    @pytest.mark.parametrize("message", [b"", b"\x09\x00future", b"\x01\x00\xff"])
    def test_a_message_that_cannot_be_read_leaves_the_record(self, message: bytes) -> None:
        info = Stored(b"r|7|p1|sums:7|0|0|", message).handle.info()
        assert (info.state, info.task, info.queue) == (State.RUNNING, None, "sums")

    def test_arguments_that_no_longer_fit_leave_the_rest(self) -> None:
        old = encode_message(Message("add", "sums", 5, *CallCodec(None).encode_call(("one", 2, 3), {})))
        info = Stored(None, old).handle.info()
        assert (info.task, info.args) == ("add", None)


class TestCancel:
    @pytest.mark.parametrize(
        ("answer", "state"),
        [(b"C", State.CANCELLED), (b"r", State.RUNNING), (b"S", State.SUCCEEDED), (b"F", State.FAILED)],
    )
    def test_it_tells_where_the_task_stands_now(self, answer: bytes, state: State) -> None:
        stored = Stored()
        stored.app.wire.replies["cancel"] = says(answer)
        assert stored.handle.cancel() is state
        assert asyncio.run(stored.handle.acancel()) is state
        assert tuple(stored.app.wire.commands[-1].args) == ("0-1", 600_000)

    def test_an_id_of_which_nothing_is_known_is_an_error(self) -> None:
        stored = Stored()
        stored.app.wire.replies["cancel"] = says(b"")
        with pytest.raises(TaskNotFound):
            stored.handle.cancel()


def outcome_of(handle: TaskHandle[Any]) -> Any:
    """Give what both twins give."""

    def outcome(result: Callable[[], Any]) -> Any:
        handle.end = None
        try:
            return result()
        except TaskqError as error:
            return error

    one = outcome(lambda: handle.result(timeout=5))
    other = outcome(lambda: asyncio.run(handle.aresult(timeout=5)))
    assert (type(one), str(one)) == (type(other), str(other))
    return one


@pytest.fixture
def inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has ended is known at once: no thread has to listen for it."""

    def no_start(thread: threading.Thread) -> None: ...

    monkeypatch.setattr("taskq.broker.inbox.threading.Thread.start", no_start)


@pytest.mark.usefixtures("inbox")
class TestResult:
    def test_it_is_what_the_task_returned(self) -> None:
        stored = Stored(ended("S", result=CallCodec(add).encode_result(3)))
        assert outcome_of(stored.handle) == 3

    def test_it_arrives_as_annotated(self) -> None:
        class Sum(msgspec.Struct):
            total: int

        def total() -> Sum:
            return Sum(3)

        total.__annotations__["return"] = Sum
        stored = Stored(ended("S", result=CallCodec(total).encode_result(Sum(3))))
        assert stored.app.task(total, name="total").handle("0-1").result() == Sum(3)
        assert stored.app.handle("0-1").result() == {"total": 3}

    def test_none_is_a_result(self) -> None:
        stored = Stored(ended("S", result=CallCodec(None).encode_result(None)))
        assert stored.app.handle("0-1").result() is None

    def test_a_result_that_was_not_kept_is_an_error(self) -> None:
        assert isinstance(outcome_of(Stored(ended("S")).handle), ResultNotStored)

    def test_a_failure_carries_the_remote_traceback_as_text(self) -> None:
        error = RemoteError("builtins.OSError", "disk full", "Traceback (most recent call last): …")
        failed = outcome_of(Stored(ended("F", error=error)).handle)
        assert isinstance(failed, TaskFailed)
        assert str(failed) == "task 0-1 failed with builtins.OSError: disk full"
        assert (failed.id, failed.type, failed.traceback) == ("0-1", "builtins.OSError", error.traceback)
        assert error.traceback in failed.__notes__[0]

    def test_a_failure_without_words_is_one(self) -> None:
        assert isinstance(outcome_of(Stored(b"F|7|p1|").handle), TaskFailed)

    def test_other_ends(self) -> None:
        assert isinstance(outcome_of(Stored(b"C|0||").handle), TaskCancelled)
        assert isinstance(outcome_of(Stored(b"E|0||").handle), TaskExpired)

    def test_of_an_id_that_never_was_nothing_is_known(self) -> None:
        error = outcome_of(Stored().handle)
        assert isinstance(error, TaskNotFound)
        assert not isinstance(error, ResultExpired)

    def test_of_a_task_that_was_enqueued_it_has_expired(self) -> None:
        stored = Stored()
        handle = stored.task.enqueue(1)
        with pytest.raises(ResultExpired):
            handle.result(timeout=5)

    def test_what_was_seen_is_not_asked_for_again(self) -> None:
        stored = Stored(ended("S", result=CallCodec(add).encode_result(3)))
        handles = [stored.handle]
        assert wait(handles) == (handles, [])
        seen = stored.looks()
        assert list(as_completed(handles)) == handles
        assert stored.handle.result() == 3
        assert stored.handle.ready()
        assert stored.looks() == seen

    @pytest.mark.parametrize(
        ("record", "stands"),
        [
            (None, "it is queued"),
            (b"w|0||sums:7|0|0|", "it is scheduled"),
            (b"r|7|p1|sums:7|1|0|", "it is running"),
            (b"p|7|shop.ad|sums:7|0|0|", "it is parked: no worker knows shop.ad"),
            (b"p|7|taskq.key:k1|sums:7|0|0|", "it is parked: no worker has the signing key 'k1'"),
            (b"p|7|taskq.frame:2|sums:7|0|0|", "it is parked: no worker reads what it was written as"),
        ],
    )
    def test_what_has_not_ended_in_time_is_told_with_where_it_stands(
        self, record: bytes | None, stands: str
    ) -> None:
        late = f"^task 0-1 has not ended within 0 s: {stands}; it may still run, and succeed$"
        with pytest.raises(ResultTimeout, match=late):
            asyncio.run(Stored(record, MESSAGE).handle.aresult(timeout=0))


class TestBlocking:
    @pytest.fixture(autouse=True)
    def warned_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("taskq.context._warned", set())

    @pytest.fixture
    def inside_a_task(self) -> Iterator[None]:
        token = CURRENT.set(context_of(task_with()))
        yield
        CURRENT.reset(token)

    @pytest.mark.usefixtures("inside_a_task", "inbox")
    def test_inside_a_task_it_is_refused_unless_allowed(self) -> None:
        stored = Stored(ended("S", result=CallCodec(add).encode_result(3)))
        for call in (
            stored.handle.result,
            lambda: wait([stored.handle]),
            lambda: as_completed([stored.handle]),
        ):
            with pytest.raises(BlockingInTask, match=r"0-1.*shop.noop.*allow_block=True"):
                call()
        assert stored.handle.result(allow_block=True) == 3
        assert wait([stored.handle], allow_block=True)[0] == [stored.handle]
        assert asyncio.run(stored.handle.aresult()) == 3

    @pytest.mark.usefixtures("inbox")
    def test_in_a_running_loop_it_warns_once_and_names_the_twin(self) -> None:
        stored = Stored(ended("S", result=CallCodec(add).encode_result(3)))

        async def main() -> None:
            with pytest.warns(RuntimeWarning, match="await aenqueue") as caught:
                stored.task.enqueue(1)
            assert caught[0].filename == __file__
            with pytest.warns(RuntimeWarning, match="await aresult"):
                stored.handle.result()
            with pytest.warns(RuntimeWarning, match="await wait_async"):
                wait([stored.handle])
            with pytest.warns(RuntimeWarning, match="await aenqueue_many"):
                stored.task.enqueue_many([(1,)])
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                stored.task.enqueue(1)
                stored.handle.result()

        asyncio.run(main())

    def test_without_a_loop_nothing_warns(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Stored().task.enqueue(1)


def test_handles_of_one_task_are_equal() -> None:
    app = WiredApp()
    task = app.task(add)
    assert task.handle("0-1") == app.handle("0-1")
    assert task.handle("0-1") != app.handle("0-2")
    assert app.handle("0-1") != WiredApp(namespace="other").handle("0-1")
    assert len({task.handle("0-1"), app.handle("0-1")}) == 1
    assert app.handle("0-1") != "0-1"
