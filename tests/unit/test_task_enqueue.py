from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from taskq import ArgumentMismatch, EnqueueUnknown, TaskQ
from taskq.errors import BrokerUnavailable, NotEncodable
from tests.unit.wire import NOW_MS, Sent, WiredApp, raises, says

IN_2030 = datetime(2030, 1, 1, tzinfo=UTC)


def add(a: int, b: int = 0) -> int:
    """Add."""
    return a + b


def sent_by(app: WiredApp) -> Sent:
    [sent] = app.wire.sent
    return sent


class TestEnqueue:
    def test_it_sends_one_message(self) -> None:
        app = WiredApp()
        task = app.task(add, queue="sums", priority=7)

        handle = task.enqueue(1, b=2)

        sent = sent_by(app)
        assert handle.id == sent.id
        assert handle.created
        assert sent.list == "sums:7"
        assert sent.options == ""
        assert (sent.message.task, sent.message.queue, sent.message.priority) == (task.name, "sums", 7)
        assert task.codec.decode_call(sent.message.args, sent.message.kwargs) == ((1,), {"b": 2})
        # What the decorator says is read by the worker from its own code.
        assert (sent.message.max_retries, sent.message.timeout_ms, sent.message.result_ttl_ms) == (None,) * 3

    def test_a_message_is_dated_by_the_servers_clock(self) -> None:
        app = WiredApp()
        task = app.task(add)
        task.enqueue(1)
        task.enqueue(1)
        assert NOW_MS <= app.wire.sent[1].message.created_ms < NOW_MS + 10_000

    def test_ids_are_new_each_time(self) -> None:
        app = WiredApp()
        task = app.task(add)
        assert len({task.enqueue(1).id for _ in range(100)}) == 100

    def test_arguments_that_do_not_fit_are_refused_before_anything_is_sent(self) -> None:
        app = WiredApp()
        task = app.task(add)
        untyped: Any = task
        with pytest.raises(ArgumentMismatch):
            untyped.enqueue()
        with pytest.raises(TypeError, match="add"):
            untyped.enqueue(1, 2, 3)
        with pytest.raises(ArgumentMismatch, match="c"):
            untyped.enqueue(1, c=2)
        with pytest.raises(NotEncodable):
            untyped.enqueue(object())
        assert app.wire.sent == []

    def test_async_twins_send_the_same(self) -> None:
        app = WiredApp()
        task = app.task(add, queue="sums")

        async def main() -> None:
            await asyncio.gather(task.aenqueue(1), task.using(priority=9).aenqueue(2))

        asyncio.run(main())
        assert [sent.list for sent in app.wire.sent] == ["sums:5", "sums:9"]

    def test_the_names_that_celery_gives_them(self) -> None:
        app = WiredApp()
        task = app.task(add)
        task.delay(1, b=2)
        task.apply_async((1,), {"b": 2}, countdown=5, expires=60, queue="q", priority=9, task_id="mine")
        task.apply_async([1], eta=IN_2030)

        first, second, third = app.wire.sent
        assert task.codec.decode_call(first.message.args, first.message.kwargs) == ((1,), {"b": 2})
        assert (second.id, second.list, second.options) == ("mine", "q:9", "+5000|+60000||u|")
        assert third.options.startswith(str(int(IN_2030.timestamp()) * 1000))

    def test_a_taken_id_is_no_error(self) -> None:
        app = WiredApp()
        app.wire.replies["enqueue"] = says([NOW_MS, 0])
        handle = app.task(add).using(id="mine").enqueue(1)
        assert (handle.id, handle.created) == ("mine", False)

    def test_a_taken_key_gives_the_handle_of_its_holder(self) -> None:
        app = WiredApp()
        app.wire.replies["enqueue"] = says([NOW_MS, b"holder"])
        handle = app.task(add).using(key="k").enqueue(1)
        assert (handle.id, handle.created) == ("holder", False)

    def test_without_an_answer_it_is_unknown_and_a_retry_settles_it(self) -> None:
        app = WiredApp()
        task = app.task(add)
        app.wire.replies["enqueue"] = raises(BrokerUnavailable("gone"))
        with pytest.raises(EnqueueUnknown) as caught:
            task.enqueue(1)
        del app.wire.replies["enqueue"]

        handle = caught.value.retry()

        assert handle.id == caught.value.id == sent_by(app).id
        assert handle.created

    def test_a_retry_that_gets_no_answer_either_can_be_retried(self) -> None:
        app = WiredApp()
        task = app.task(add)
        app.wire.replies["enqueue"] = raises(BrokerUnavailable("gone"))
        with pytest.raises(EnqueueUnknown) as first:
            task.enqueue(1)
        with pytest.raises(EnqueueUnknown) as second:
            first.value.retry()
        del app.wire.replies["enqueue"]

        handle = second.value.retry()

        assert handle.id == second.value.id == first.value.id

    def test_in_a_loop_a_retry_that_gets_no_answer_either_can_be_awaited(self) -> None:
        app = WiredApp()
        task = app.task(add)

        async def main() -> None:
            app.wire.replies["enqueue"] = raises(BrokerUnavailable("gone"))
            with pytest.raises(EnqueueUnknown) as first:
                await task.aenqueue(1)
            with pytest.raises(EnqueueUnknown) as second:
                await first.value.retry()
            del app.wire.replies["enqueue"]
            handle = await second.value.retry()
            assert handle.id == second.value.id == first.value.id

        asyncio.run(main())

    def test_in_a_loop_the_retry_is_awaited(self) -> None:
        app = WiredApp()
        task = app.task(add)

        async def main() -> None:
            app.wire.replies["enqueue"] = raises(BrokerUnavailable("gone"))
            with pytest.raises(EnqueueUnknown) as caught:
                await task.aenqueue(1)
            del app.wire.replies["enqueue"]
            handle = await caught.value.retry()
            assert handle.id == caught.value.id == sent_by(app).id

        asyncio.run(main())


class TestUsing:
    def options(self, **given: Any) -> str:
        app = WiredApp()
        app.task(add, name="add").using(**given).enqueue(1)
        return sent_by(app).options

    def test_what_is_not_plain_is_told_beside_the_message(self) -> None:
        assert self.options(delay="1m") == "+60000||||"
        assert self.options(eta=datetime(2030, 1, 1, tzinfo=UTC)) == "1893456000000||||"
        assert self.options(expires=30) == "|+30000|||"
        assert self.options(expires=IN_2030) == "|1893456000000|||"
        assert self.options(front=True) == "|||f|"
        assert self.options(id="mine") == "|||u|"
        assert self.options(key="welcome") == "||||add:welcome"
        assert self.options(key="welcome", key_ttl="1h") == "||3600000||add:welcome"

    def test_what_the_worker_needs_travels_in_the_message(self) -> None:
        app = WiredApp()
        sender = app.task(add).using(
            max_retries=0, timeout="5s", result_ttl=0, headers={"trace": "1"}, tags=["nightly"]
        )
        sender.enqueue(1)
        message = sent_by(app).message
        assert (message.max_retries, message.timeout_ms, message.result_ttl_ms) == (0, 5_000, 0)
        assert (message.headers, message.tags) == ({"trace": "1"}, ["nightly"])

    def test_it_adds_to_what_was_given_before(self) -> None:
        app = WiredApp()
        urgent = app.task(add, queue="sums").using(priority=9, tags=["urgent"])
        urgent.using(delay=1).using(queue="other").enqueue(1)
        urgent.enqueue(1)
        first, second = app.wire.sent
        assert (first.list, first.options, first.message.tags) == ("other:9", "+1000||||", ["urgent"])
        assert (second.list, second.options) == ("sums:9", "")

    @pytest.mark.parametrize(
        "given",
        [
            {"priority": 10},
            {"priority": "9"},
            {"queue": "a|b"},
            {"id": "with space"},
            {"delay": "soon"},
            {"key": ""},
            {"key_ttl": 5},
            {"key": "k", "key_ttl": 0},
            {"delay": -1},
            {"delay": 1, "eta": IN_2030},
            {"eta": "tomorrow"},
            {"eta": datetime(2030, 1, 1)},  # noqa: DTZ001 - that is what is refused
            {"expires": datetime(2030, 1, 1)},  # noqa: DTZ001
            {"front": True, "delay": 1},
            {"front": True, "eta": IN_2030},
            {"max_retries": -1},
            {"max_retries": 1.0},
            {"timeout": 0},
            {"headers": {"a": 1}},
            {"tags": "nightly"},
            {"tags": [1]},
        ],
    )
    def test_what_cannot_be_meant_is_a_value_error(self, given: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(given)).split("_")[0]):
            TaskQ("shop").task(add).using(**given)

    def test_an_expiry_of_either_form_replaces_the_other(self) -> None:
        app = WiredApp()
        task = app.task(add)
        task.using(expires=1).using(expires=IN_2030).enqueue(1)
        task.using(expires=IN_2030).using(expires=1).enqueue(1)
        assert [sent.options for sent in app.wire.sent] == ["|1893456000000|||", "|+1000|||"]

    def test_contradictions_are_found_over_several_calls(self) -> None:
        task = TaskQ("shop").task(add)
        with pytest.raises(ValueError, match="delay= and eta="):
            task.using(delay=1).using(eta=IN_2030)
