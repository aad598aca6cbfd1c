from __future__ import annotations

import asyncio
import functools
import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from taskq import ArgumentMismatch, EnqueueUnknown, RetryPolicy, TaskQ
from taskq.errors import (
    Backpressure,
    BrokerError,
    BrokerUnavailable,
    ConfigurationError,
    NotEncodable,
    TooLate,
)
from taskq.options import TaskOptions
from taskq.task import is_async
from tests.unit.wire import NOW_MS, Sent, WiredApp, raises, says

IN_2030 = datetime(2030, 1, 1, tzinfo=UTC)


def add(a: int, b: int = 0) -> int:
    """Add."""
    return a + b


async def fetch(url: str) -> str:
    return url


def declared(**options: Any) -> TaskOptions:
    return TaskQ("shop").task(add, **options).options


class TestOptions:
    def test_defaults_are_those_of_the_manual(self) -> None:
        assert declared() == TaskOptions(
            queue="default",
            priority=5,
            retry=RetryPolicy(max_retries=5, delay=1, factor=2, cap="10m"),
            timeout_ms=3_600_000,
            soft_timeout_ms=None,
            result_ttl_ms=None,
            max_crashes=3,
            ack="late",
            keep_message=False,
        )

    def test_durations_are_seconds_text_or_timedelta(self) -> None:
        assert declared(timeout=30).timeout_ms == 30_000
        assert declared(timeout="1m", soft_timeout="50s").soft_timeout_ms == 50_000
        assert declared(result_ttl=timedelta(hours=1)).result_ttl_ms == 3_600_000
        assert declared(timeout=None).timeout_ms is None
        assert declared(result_ttl=0).result_ttl_ms == 0

    def test_short_forms_change_fields_of_the_policy(self) -> None:
        policy = RetryPolicy(max_retries=9, delay="5s")
        assert declared(retry=policy).retry is not None
        assert declared(retry=policy, max_retries=0).retry == RetryPolicy(max_retries=0, delay="5s")
        assert declared(retry_for=OSError, no_retry_for=(KeyError,)).retry == RetryPolicy(
            retry_for=OSError, no_retry_for=(KeyError,)
        )

    @pytest.mark.parametrize(
        "options",
        [
            {"queue": "a b"},
            {"priority": 10},
            {"priority": -1},
            {"priority": True},
            {"timeout": 0},
            {"timeout": "soon"},
            {"timeout": -1},
            {"timeout": "1m", "soft_timeout": "1m"},
            {"soft_timeout": 0},
            {"result_ttl": "x"},
            {"max_crashes": 0},
            {"max_crashes": 1.5},
            {"max_retries": -1},
            {"retry": RetryPolicy(), "max_retries": 0.5},
            {"ack": "never"},
            {"keep_message": "yes"},
            {"unheard_of": 1},
            {"name": "a|b"},
            {"name": ""},
        ],
    )
    def test_what_cannot_be_meant_is_refused_where_it_is_declared(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=f"test_task.py.*{list(options)[-1]}"):
            declared(**options)


class TestCalling:
    def test_a_call_runs_the_function_here_and_now(self) -> None:
        app = WiredApp()
        assert app.task(add)(1, b=2) == 3
        assert asyncio.run(app.task(fetch)("u")) == "u"
        assert app.wire.commands == []

    def test_it_looks_like_the_function(self) -> None:
        task = TaskQ("shop").task(add)
        assert (task.__module__, task.__doc__) == (__name__, add.__doc__)
        assert inspect.signature(task) == inspect.signature(add)

    def test_async_functions_are_told_from_others_once(self) -> None:
        class Callable:
            async def __call__(self) -> None: ...

        class Sync:
            def __call__(self) -> None: ...

        assert is_async(fetch)
        assert is_async(functools.partial(fetch, "u"))
        assert is_async(functools.partial(functools.partial(fetch), "u"))
        assert is_async(Callable())
        assert is_async(functools.partial(Callable()))
        assert not is_async(add)
        assert not is_async(Sync())
        assert not is_async(functools.partial(add, 1))
        assert TaskQ("shop").task(fetch).is_async
        assert not TaskQ("shop").task(add).is_async


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


class TestEnqueueMany:
    def test_each_call_has_an_outcome_in_its_place(self) -> None:
        app = WiredApp()
        task = app.task(add)

        outcomes = task.enqueue_many([(1,), (1, 2, 3), task.call(2, b=3), (object(),), (4, 5)])

        assert [outcome.created for outcome in outcomes] == [True, False, True, False, True]
        assert isinstance(outcomes[1].error, ArgumentMismatch)
        assert isinstance(outcomes[3].error, NotEncodable)
        assert [outcome.get().id for outcome in outcomes if outcome.handle] == [
            sent.id for sent in app.wire.sent
        ]
        with pytest.raises(ArgumentMismatch):
            outcomes[1].get()

    def test_they_travel_in_batches(self) -> None:
        app = WiredApp()
        task = app.task(add)
        outcomes = task.enqueue_many((n,) for n in range(600))
        batches = [command for command in app.wire.commands if command.name == "enqueue"]
        assert len(batches) == 3
        assert len(outcomes) == len(app.wire.sent) == 600
        assert [outcome.get().id for outcome in outcomes] == [sent.id for sent in app.wire.sent]

    def test_calls_of_several_tasks_with_options_of_their_own(self) -> None:
        app = WiredApp()
        one, other = app.task(add, queue="one"), app.task(fetch, queue="other")
        outcomes: Any = app.enqueue_many([one.call(1), other.using(priority=9).call("u")])
        assert [sent.list for sent in app.wire.sent] == ["one:5", "other:9"]
        assert [outcome.get().codec for outcome in outcomes] == [one.codec, other.codec]

    def test_what_was_known_says_so(self) -> None:
        app = WiredApp()
        app.wire.replies["enqueue"] = says([NOW_MS, 1, b"holder", 0])
        task = app.task(add)
        outcomes = app.enqueue_many([task.call(1), task.call(2), task.using(id="mine").call(3)])
        assert [outcome.created for outcome in outcomes] == [True, False, False]
        assert [outcome.get().id for outcome in outcomes[1:]] == ["holder", "mine"]

    def test_what_an_earlier_try_has_stored_was_created(self) -> None:
        app = WiredApp()
        app.wire.replies["enqueue"] = says([NOW_MS, 0])
        assert app.task(add).enqueue(1).created

    def test_what_one_message_is_refused_for_is_its_own_outcome(self) -> None:
        app = WiredApp()
        app.wire.replies["enqueue"] = says([NOW_MS, 1, -1, -2, 1])
        outcomes = app.task(add).enqueue_many([(1,), (2,), (3,), (4,)])
        assert [outcome.created for outcome in outcomes] == [True, False, False, True]
        assert [type(outcome.error) for outcome in outcomes[1:3]] == [TooLate, BrokerError]

        app.wire.replies["enqueue"] = says([NOW_MS, -2])
        with pytest.raises(BrokerError, match="list, default:5, has a wrong type"):
            app.task(fetch).enqueue("u")

    def test_what_travels_together_is_refused_one_by_one(self) -> None:
        app = WiredApp()
        app.wire.replies["enqueue"] = says([NOW_MS, 1, -2])
        task = app.task(add)

        async def main() -> None:
            first, second = asyncio.create_task(task.aenqueue(1)), asyncio.create_task(task.aenqueue(2))
            assert (await first).created
            with pytest.raises(BrokerError):
                await second

        asyncio.run(main())

    def test_nothing_is_sent_for_nothing(self) -> None:
        app = WiredApp()
        assert app.task(add).enqueue_many([]) == []
        assert app.wire.commands == []

    def test_once_there_is_no_answer_the_rest_is_not_sent(self) -> None:
        app = WiredApp()
        task = app.task(add)
        wire, answered = app.wire, iter([True, False])

        def once(command: Any) -> Any:
            if next(answered):
                return [NOW_MS, *[1] * 256]
            raise BrokerUnavailable("gone")

        wire.replies["enqueue"] = once
        outcomes = task.enqueue_many((n,) for n in range(1_000))

        errors = [type(outcome.error) for outcome in outcomes]
        assert errors == [type(None)] * 256 + [EnqueueUnknown] * 256 + [BrokerUnavailable] * 488
        del wire.replies["enqueue"]
        unknown: Any = outcomes[300].error
        handle = unknown.retry()
        assert handle.id == unknown.id
        assert unknown.id in {sent.id for sent in wire.sent}

    @pytest.mark.parametrize("error", [Backpressure("full"), BrokerError("no")])
    def test_once_it_is_refused_the_rest_is_not_sent(self, error: Exception) -> None:
        app = WiredApp()
        app.wire.replies["enqueue"] = raises(error)
        outcomes = app.task(add).enqueue_many((n,) for n in range(300))
        assert {outcome.error for outcome in outcomes} == {error}
        assert [command.name for command in app.wire.commands].count("enqueue") == 1

    def test_async_twins_do_the_same(self) -> None:
        app = WiredApp()
        task = app.task(add)

        async def main() -> None:
            assert all(outcome.created for outcome in await task.aenqueue_many([(1,), (2,)]))
            assert all(outcome.created for outcome in await app.aenqueue_many([task.call(1)]))

        asyncio.run(main())
        assert len(app.wire.sent) == 3
