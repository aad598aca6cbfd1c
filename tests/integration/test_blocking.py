"""Calls that wait for room in a full queue."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

import pytest

from taskq import EnqueueUnknown, QueueFull, TaskQ
from taskq.broker.client import Broker
from taskq.broker.command import Steps, delay
from taskq.broker.commands import operating
from taskq.errors import BackpressureError
from tests.engine import Lab
from tests.player import Player, run
from tests.proxy import Fate, Proxy, names
from tests.servers import RedisServer
from tests.support import wait_until


@pytest.fixture
def full(lab: Lab, task: Any, worker: Player) -> Player:
    """A worker; its queue takes two tasks, which are there."""
    lab.call(operating.bound(lab.keys, "default", "set", 2))
    task.enqueue_many([(-1,), (-2,)])
    return worker


class Asked:
    """How often an app sends `enqueue`."""

    def __init__(self, app: TaskQ) -> None:
        self.times = 0
        call, acall = app.broker.call, app.broker.acall

        def counting(command: Any, *more: Any, **named: Any) -> Any:
            self.times += command.name == "enqueue"
            return call(command, *more, **named)

        async def acounting(command: Any) -> Any:
            self.times += command.name == "enqueue"
            return await acall(command)

        app.broker.call = counting  # type: ignore[method-assign]
        app.broker.acall = acounting  # type: ignore[method-assign]


def test_a_call_waits_until_there_is_room(task: Any, full: Player) -> None:
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(task.using(block_when_full=30).enqueue, 3)
        time.sleep(0.1)
        assert not waiting.done()
        full.run(full.claim(1))
        handle = waiting.result(10)
    assert handle.created
    assert full.run_all() == 2
    assert handle.result(timeout=10) == 3


def test_on_a_loop_only_the_call_waits(app: TaskQ, task: Any, full: Player) -> None:
    async def main() -> int:
        waiting = asyncio.create_task(task.using(block_when_full=30).aenqueue(3))
        ticks, until = 0, time.monotonic() + 0.6
        while time.monotonic() < until:
            await asyncio.sleep(0.01)
            ticks += 1
        assert not waiting.done()
        assert ticks > 12  # a loop that stood still while the call paused would have come to some five
        await asyncio.to_thread(lambda: full.run(full.claim(1)))
        handle = await asyncio.wait_for(waiting, 10)
        await asyncio.to_thread(full.run_all)
        result: int = await handle.aresult(timeout=10)
        return result

    assert run(app, main()) == 3


@pytest.mark.parametrize("how", ["enqueue", "aenqueue", "enqueue_many", "aenqueue_many"])
def test_when_its_time_is_over_it_is_refused_and_it_did_not_ask_too_often(
    app: TaskQ, task: Any, full: Player, how: str
) -> None:
    asked, sender = Asked(app), task.using(block_when_full=0.5)

    def refused() -> Any:
        if how == "enqueue":
            return sender.enqueue(3)
        if how == "enqueue_many":
            return sender.enqueue_many([(3,)])[0].get()

        async def main() -> Any:
            return (
                await sender.aenqueue(3)
                if how == "aenqueue"
                else (await sender.aenqueue_many([(3,)]))[0].get()
            )

        return run(app, main())

    begun = time.monotonic()
    with pytest.raises(QueueFull):
        refused()
    assert 0.5 <= time.monotonic() - begun < 3
    assert 3 <= asked.times <= 10  # with pauses of 20 ms, there would be 25
    assert full.run_all() == 2


def test_without_it_a_call_is_refused_at_once(app: TaskQ, task: Any, full: Player) -> None:
    asked = Asked(app)
    for sender in (task, task.using(block_when_full=0)):
        with pytest.raises(QueueFull):
            sender.enqueue(3)
    assert [one.created for one in task.enqueue_many([(3,), (4,)])] == [False, False]
    assert asked.times == 3


def test_an_app_may_wait_where_its_calls_say_nothing(
    server: RedisServer, namespace: str, full: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    def waits(app: TaskQ, **using: Any) -> bool:
        asked = Asked(app)
        with pytest.raises(QueueFull):
            app.named("add").using(**using).enqueue(1)
        app.close()
        return asked.times > 1

    def app(**options: Any) -> TaskQ:
        return TaskQ("shop", redis_url=server.url, namespace=namespace, **options)

    assert waits(app(block_when_full="100ms"))
    assert not waits(app(block_when_full="100ms"), block_when_full=0)
    assert not waits(app())
    monkeypatch.setenv("TASKQ_BLOCK_WHEN_FULL", "100ms")
    assert waits(app())


class Draining:
    """Claims and ends a task every few milliseconds, until it is told to stop."""

    def __init__(self, worker: Player) -> None:
        self._worker, self._stop = worker, threading.Event()
        self._thread = threading.Thread(target=self._drain)
        self.ran = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _drain(self) -> None:
        while not self._stop.wait(0.002):
            tasks = self._worker.claim(1)
            self._worker.run(tasks)
            self.ran += len(tasks)


def test_many_calls_get_in_one_after_the_other_in_their_order(lab: Lab, task: Any, full: Player) -> None:
    with Draining(full) as draining:
        outcomes = task.using(block_when_full=10).enqueue_many((n,) for n in range(300))
        wait_until(lambda: draining.ran == 302)

    assert all(one.created for one in outcomes)
    handles = [one.get() for one in outcomes]
    assert [handle.result(timeout=10) for handle in handles] == [*range(300)]
    ended = [line.split()[1] for line in lab.recent()]
    assert ended[2:] == [handle.id for handle in handles]


def test_producers_that_wait_never_exceed_the_bound(
    lab: Lab, server: RedisServer, namespace: str, task: Any, full: Player
) -> None:
    most: Counter[int] = Counter()

    def produce(number: int) -> list[bool]:
        app = TaskQ("shop", redis_url=server.url, namespace=namespace, block_when_full=30)
        sender = app.named("add")
        try:
            done = [sender.enqueue(n).created for n in range(10)]
            return done + [one.created for one in sender.enqueue_many((n,) for n in range(10))]
        finally:
            app.close()

    with Draining(full) as draining, ThreadPoolExecutor(6) as threads:
        producing = [threads.submit(produce, number) for number in range(6)]
        while not all(one.done() for one in producing):
            most[len(lab.ready())] += 1
        wait_until(lambda: draining.ran == 122)

    assert all(created for one in producing for created in one.result())
    assert max(most) <= 2


def test_over_a_bad_line_what_was_accepted_is_there_once_and_the_bound_holds(
    lab: Lab, server: RedisServer, namespace: str, proxy: Proxy, full: Player
) -> None:
    luck, lock, most = random.Random(3), threading.Lock(), Counter[int]()

    def judge(words: list[bytes]) -> Fate:
        if not names(words, "enqueue"):
            return Fate.PASS
        with lock:
            drawn = luck.random()
        return Fate.LOSE_REPLY if drawn < 0.2 else Fate.LOSE_COMMAND if drawn < 0.3 else Fate.PASS

    proxy.judge = judge

    def produce(number: int) -> list[str]:
        app = TaskQ("shop", redis_url=proxy.url, namespace=namespace, block_when_full=30)
        sender = app.named("add")
        try:
            ids = [sender.enqueue(n).id for n in range(8)]
            return ids + [one.get().id for one in sender.enqueue_many((n,) for n in range(8))]
        finally:
            app.close()

    with Draining(full) as draining, ThreadPoolExecutor(5) as threads:
        producing = [threads.submit(produce, number) for number in range(5)]
        while not all(one.done() for one in producing):
            most[len(lab.ready())] += 1
        wait_until(lambda: draining.ran >= 82)

    accepted = [id for one in producing for id in one.result()]
    ended = Counter(line.split()[1] for line in lab.recent())
    assert [ended[id] for id in accepted] == [1] * 80
    assert draining.ran == 82
    assert max(most) <= 2
    assert proxy.lost[Fate.LOSE_REPLY] > 5


def test_once_waiting_was_in_vain_the_rest_of_many_does_not_wait(app: TaskQ, task: Any, full: Player) -> None:
    asked, patient = Asked(app), task.using(block_when_full=0.2)
    calls = [patient.call(n) for n in range(700)] + [patient.using(queue="other").call(1)]

    begun = time.monotonic()
    outcomes = app.enqueue_many(calls)

    assert time.monotonic() - begun < 0.2 + 3
    assert {type(one.error) for one in outcomes[:-1]} == {QueueFull}
    assert outcomes[-1].created
    assert asked.times < 12
    assert full.run_all() == 3


def test_calls_that_do_not_wait_keep_nobody(app: TaskQ, task: Any, full: Player) -> None:
    calls = [task.call(1), task.using(block_when_full=30).call(2), task.call(3)]
    with ThreadPoolExecutor(1) as thread:
        sending = thread.submit(app.enqueue_many, calls)
        time.sleep(0.1)
        full.run(full.claim(2))
        outcomes = sending.result(10)
    assert [one.created for one in outcomes] == [False, True, False]
    full.run_all()


@pytest.fixture
def distant(proxy: Proxy, server: RedisServer, namespace: str) -> Iterator[TaskQ]:
    """An app whose commands pass the proxy, and which gives up soon."""
    app = TaskQ("shop", redis_url=proxy.url, namespace=namespace, patience=0.3)
    yield app
    app.close()


def test_an_answer_that_is_lost_while_calls_wait_is_unknown_to_those_alone(
    lab: Lab, distant: TaskQ, proxy: Proxy, full: Player
) -> None:
    add = distant.named("add")
    full.run(full.claim(1))
    asked = 0

    def judge(words: list[bytes]) -> Fate:
        nonlocal asked
        if not names(words, "enqueue"):
            return Fate.PASS
        asked += 1
        return Fate.PASS if asked < 3 else Fate.LOSE_REPLY

    proxy.judge = judge
    patient = add.using(block_when_full=10)
    outcomes = distant.enqueue_many([patient.call(1), add.call(2), patient.call(3), patient.call(4)])

    assert [type(one.error) for one in outcomes] == [type(None), QueueFull, EnqueueUnknown, EnqueueUnknown]
    proxy.judge = lambda _words: Fate.PASS
    full.run(full.claim(1))
    settled = outcomes[2].error
    assert isinstance(settled, EnqueueUnknown)
    assert settled.retry().id == settled.id
    assert lab.ready()[-1] == settled.id
    full.run_all()


def test_a_server_that_fills_up_while_calls_wait_ends_the_wait(
    app: TaskQ, task: Any, lab: Lab, full: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    call = app.broker.call

    def filling(command: Any, *more: Any, **named: Any) -> Any:
        nonlocal asked
        asked += command.name == "enqueue"
        if asked == 3 and command.name == "enqueue":
            raise BackpressureError("memory")
        return call(command, *more, **named)

    monkeypatch.setattr(app.broker, "call", filling)
    full.run(full.claim(1))
    outcomes = task.using(block_when_full=10).enqueue_many([(1,), (2,)] + [(3,)] * 300)

    assert outcomes[0].created
    assert {str(one.error) for one in outcomes[1:]} == {"memory"}
    full.run_all()


def test_to_wait_on_a_loop_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a thread was asked for")

    def steps() -> Steps[float]:
        begun = time.monotonic()
        yield delay(0.05)
        return time.monotonic() - begun

    monkeypatch.setattr(asyncio, "to_thread", refuse)
    assert asyncio.run(Broker("redis://nowhere.invalid").arun(steps())) >= 0.05
