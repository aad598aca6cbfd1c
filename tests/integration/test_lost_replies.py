"""Lost commands and lost replies: each command takes effect once all the same."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from taskq.broker import command as command_module
from taskq.broker.client import Broker
from taskq.broker.command import Command
from taskq.broker.commands import operating, producing, reading, working
from taskq.broker.commands.producing import Stored
from taskq.broker.commands.working import Answer, Claimed, Kind
from taskq.errors import EnqueueUnknown, TooLate
from taskq.names import new_task_id
from tests.engine import HOUR_MS, Lab, envelope, ids, outcome
from tests.proxy import Fate, Proxy, Words, all_pass, names, nth
from tests.servers import RedisServer

PIECES = ("prelude", "ending", "entry", "misfits")
SCRIPTS = sorted(file.stem for file in Path(command_module.SCRIPTS).glob("*.lua") if file.stem not in PIECES)


def commands(lab: Lab) -> dict[str, Command[Any]]:
    """One command a script, each of which does something to the scene."""
    keys = lab.keys
    ran = Claimed("ran", lab.held("p")["ran"].g, b"", b"")
    return {
        "beat": working.beat(keys, 30_000, ["p"]),
        "bound": operating.bound(keys, "default", "set", 100),
        "cancel": producing.cancel(keys, "queued", 60_000),
        "claim": working.claim(keys, "p", 9, 1, working.claim_words(keys, ["default"])),
        "discard": operating.discard(keys, "default", ["dead"]),
        "enqueue": producing.enqueue(keys, [envelope("n1"), envelope("n2")]),
        "hello": working.hello(keys, "new", 30_000, b"", ["default"]),
        "init": producing.init(keys, 1),
        "mend": working.mend(keys, ["default"]),
        "park": working.park(keys, "p", "ran", ran.g, "app.job"),
        "pause": operating.pause(keys, "default"),
        "purge": operating.purge(keys, "default", 5, 60_000),
        "reap": working.reap(keys, "p", 0),
        "reconcile": working.reconcile(keys, ["queued", "ran"]),
        "register": working.register(keys, "p", {"app.job": "default"}),
        "requeue": operating.requeue(keys, "dead", "default", 9_000, "new", "default:5", b"m"),
        "resume": operating.resume(keys, "default"),
        "settle": working.settle(keys, "p", [outcome(ran, Kind.RETRY, HOUR_MS)]),
        "start": working.start(keys, "p", "ran", ran.g),
        "wait": producing.wait(keys, "c1", ["queued"]),
    }


ANSWERED_OTHERWISE = {"settle": [Answer.ALREADY], "requeue": 0, "discard": (0, 0), "purge": (0, 0)}
"""What a repeat says where it tells that it came second."""


def scene(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("dead", "ran")
    dead, _ = lab.take("p")
    lab.settle("p", [dead], Kind.FAILED)
    lab.enqueue("queued")


def comparable(lab: Lab) -> dict[str, Any]:
    snapshot = lab.snapshot()
    for moving in ("meta", "procs", "beats", "tasks", "recent", "dead:default"):
        snapshot.pop(moving, None)
    return {name: value for name, value in snapshot.items() if name[:5] != "stats"} | {"stats": lab.stats()}


@pytest.mark.parametrize("fate", [Fate.LOSE_COMMAND, Fate.LOSE_REPLY])
@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_takes_effect_once_though_it_or_its_reply_is_lost(
    lab: Lab, proxy: Proxy, distant: Broker, script: str, fate: Fate
) -> None:
    scene(lab)
    command = commands(lab)[script]
    if fate is Fate.LOSE_REPLY:
        distant.call(reading.read(lab.keys, "PING"))
    proxy.judge = nth(script, 1, fate)

    answer = distant.call(command)

    assert proxy.lost[fate] == 1
    after = comparable(lab)
    if script not in ("resume", "purge"):  # another token, and a repeat that goes on, are no harm
        again = distant.call(command)
        expected = ANSWERED_OTHERWISE.get(script, answer)
        assert again == expected or script in ("hello", "enqueue", "claim")
        assert comparable(lab) == after
    if fate is Fate.LOSE_COMMAND and script in ANSWERED_OTHERWISE:
        assert answer != ANSWERED_OTHERWISE[script]


def test_a_thousand_enqueues_over_a_bad_line_are_a_thousand_tasks(
    lab: Lab, proxy: Proxy, distant: Broker
) -> None:
    luck = random.Random(7)
    lock = threading.Lock()

    def judge(words: Words) -> Fate:
        with lock:
            drawn = luck.random()
        return Fate.LOSE_REPLY if drawn < 0.2 else Fate.LOSE_COMMAND if drawn < 0.3 else Fate.PASS

    proxy.judge = judge
    made = [new_task_id() for _ in range(1_000)]
    with ThreadPoolExecutor(16) as threads:
        stored = list(threads.map(lambda made_id: distant.run(distant.store([envelope(made_id)]))[0], made))

    assert [one.id for one in stored] == made
    assert sorted(lab.ready()) == sorted(made)
    assert proxy.lost[Fate.LOSE_REPLY] > 100
    assert proxy.lost[Fate.LOSE_COMMAND] > 50


def test_so_are_those_of_an_event_loop(lab: Lab, proxy: Proxy, distant: Broker) -> None:
    luck = random.Random(11)
    proxy.judge = lambda _words: Fate.LOSE_REPLY if luck.random() < 0.3 else Fate.PASS
    made = [new_task_id() for _ in range(1_000)]

    async def program() -> list[Stored]:
        gate = asyncio.Semaphore(40)

        async def one(id: str) -> Stored:
            async with gate:
                return await distant.astore(envelope(id))

        try:
            return await asyncio.gather(*map(one, made))
        finally:
            await distant.aclose()

    stored = asyncio.run(program())

    assert [one.id for one in stored] == made
    assert sorted(lab.ready()) == sorted(made)
    assert proxy.lost[Fate.LOSE_REPLY] > 3


def test_claims_over_a_bad_line_give_each_task_once(lab: Lab, proxy: Proxy, distant: Broker) -> None:
    luck = random.Random(5)
    lab.hello("p")
    made = [f"a{n:03}" for n in range(200)]
    lab.enqueue(*made)
    words = working.claim_words(lab.keys, ["default"])
    proxy.judge = lambda _words: Fate.LOSE_REPLY if luck.random() < 0.3 else Fate.PASS

    given: list[str] = []
    for seq in range(1, 200):
        batch = distant.call(working.claim(lab.keys, "p", seq, 7, words))
        if not batch.tasks:
            break
        given += ids(batch)
        answers = distant.call(working.settle(lab.keys, "p", [outcome(task) for task in batch.tasks]))
        assert set(answers) <= {Answer.COMMITTED, Answer.ALREADY}

    assert given == made
    assert lab.stats() == {"job|S": 200}


def test_an_enqueue_without_an_answer_is_unknown_and_retry_settles_it(lab: Lab, proxy: Proxy) -> None:
    broker = Broker(proxy.url, lab.broker.namespace.name, patience=0.2)
    proxy.judge = lambda words: Fate.LOSE_REPLY if names(words, "enqueue") else Fate.PASS

    with pytest.raises(EnqueueUnknown, match="may or may not be stored") as unknown:
        broker.run(broker.store([envelope("a"), envelope("b")]))

    assert unknown.value.id == "a"
    assert proxy.lost[Fate.LOSE_REPLY] > 1
    proxy.judge = all_pass
    assert [one.id for one in unknown.value.retry()] == ["a", "b"]
    assert lab.ready() == ["a", "b"]
    broker.close()


def test_an_enqueue_that_never_arrived_is_stored_by_retry(lab: Lab, proxy: Proxy) -> None:
    broker = Broker(proxy.url, lab.broker.namespace.name, patience=0.2)
    proxy.judge = lambda _words: Fate.LOSE_COMMAND

    with pytest.raises(EnqueueUnknown) as unknown:
        broker.run(broker.store([envelope("a")]))
    assert lab.ready() == []

    proxy.judge = all_pass
    assert unknown.value.retry() == [Stored("a", True)]
    assert lab.ready() == ["a"]
    broker.close()


def test_a_retry_that_comes_too_late_stores_nothing(lab: Lab, proxy: Proxy, jumping_clock: None) -> None:
    broker = Broker(proxy.url, lab.broker.namespace.name, patience=0.2)
    broker.call(reading.read(lab.keys, "PING"))
    broker.run(broker.namespace.meet(0))
    proxy.judge = lambda _words: Fate.LOSE_COMMAND
    with pytest.raises(EnqueueUnknown) as unknown:
        broker.run(broker.store([envelope("a")]))
    proxy.judge = all_pass
    lab.jump(2 * 60_000)

    [stored] = unknown.value.retry()
    with pytest.raises(TooLate, match="task a came after its time"):
        stored.check()

    assert lab.ready() == []
    broker.close()


def test_a_script_that_cannot_be_loaded_for_a_while_is_waited_for(
    lab: Lab, proxy: Proxy, distant: Broker, server: RedisServer
) -> None:
    distant.run(distant.namespace.meet(0))
    server.call("SCRIPT", "FLUSH")
    lost = iter([Fate.LOSE_COMMAND, Fate.LOSE_REPLY, Fate.LOSE_COMMAND])
    proxy.judge = lambda words: next(lost, Fate.PASS) if names(words, "SCRIPT") else Fate.PASS
    assert distant.call(producing.enqueue(lab.keys, [envelope("a")]))[1] == [Stored("a", True)]


def test_repeats_are_paced(lab: Lab, proxy: Proxy) -> None:
    broker = Broker(proxy.url, lab.broker.namespace.name, patience=1.0)
    proxy.judge = lambda _words: Fate.LOSE_COMMAND
    with pytest.raises(EnqueueUnknown):
        broker.run(broker.store([envelope("a")]))
    assert 3 <= proxy.lost[Fate.LOSE_COMMAND] <= 12
    broker.close()
