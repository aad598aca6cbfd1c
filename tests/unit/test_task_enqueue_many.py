from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskq import ArgumentMismatch, EnqueueUnknown
from taskq.errors import BackpressureError, BrokerError, BrokerUnavailable, NotEncodable, TooLate
from tests.unit.wire import NOW_MS, WiredApp, raises, says


def add(a: int, b: int = 0) -> int:
    """Add."""
    return a + b


async def fetch(url: str) -> str:
    return url


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
        unknown: Any = outcomes[300].error
        wire.replies["enqueue"] = raises(BrokerUnavailable("gone"))
        with pytest.raises(EnqueueUnknown) as still:
            unknown.retry()
        del wire.replies["enqueue"]
        handle = still.value.retry()
        assert handle.id == unknown.id
        assert unknown.id in {sent.id for sent in wire.sent}

    @pytest.mark.parametrize("error", [BackpressureError("full"), BrokerError("no")])
    def test_once_it_is_refused_the_rest_is_not_sent(self, error: Exception) -> None:
        app = WiredApp()
        app.wire.replies["enqueue"] = raises(error)
        outcomes = app.task(add).enqueue_many((n,) for n in range(300))
        assert {outcome.error for outcome in outcomes} == {error}
        assert [command.name for command in app.wire.commands].count("enqueue") == 1

    def test_what_was_stored_before_the_refusal_is_told_as_stored(self) -> None:
        app = WiredApp()
        wire, stored = app.wire, iter([True, True, False])

        def fills_up(command: Any) -> Any:
            if next(stored):
                return [NOW_MS, *[1] * (len(command.args) // 4)]
            raise BackpressureError("memory")

        wire.replies["enqueue"] = fills_up
        outcomes = app.task(add).using(delay=1).enqueue_many((n,) for n in range(600))  # 64 a command

        assert [one.created for one in outcomes] == [True] * 128 + [False] * 472
        assert {(type(one.error), str(one.error)) for one in outcomes[128:]} == {
            (BackpressureError, "memory")
        }
        assert [command.name for command in wire.commands].count("enqueue") == 3

    def test_async_twins_do_the_same(self) -> None:
        app = WiredApp()
        task = app.task(add)

        async def main() -> None:
            assert all(outcome.created for outcome in await task.aenqueue_many([(1,), (2,)]))
            assert all(outcome.created for outcome in await app.aenqueue_many([task.call(1)]))

        asyncio.run(main())
        assert len(app.wire.sent) == 3
