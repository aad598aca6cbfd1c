"""Hostile bytes in any key: no script raises half-way, no neighbour is lost or run twice, nothing loops.

A scene has a task in every state. One of its keys is overwritten or added to, every script runs, the sweep does
its work, and a fresh process drains what there is: each task whose own keys were left alone comes exactly once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskq.broker.command import Argument
from taskq.broker.commands import operating, producing
from taskq.broker.commands.working import Answer, Claimed, ClaimRefused, Kind
from taskq.errors import BrokerError
from taskq.record import State
from tests.engine import HOUR_MS, Lab, ids
from tests.leaks import forget
from tests.servers import RedisServer

pytestmark = pytest.mark.usefixtures("jumping_clock")

QUEUES = ("default", "mail")
JOB = "app.job"
MEGABYTE = 1_000_000

Change = tuple[tuple[Argument, ...], ...]
"""Redis commands without their key, which comes second."""

OVERWRITTEN: dict[str, Change] = {
    "nothing": (("SET", ""),),
    "text": (("SET", "junk"),),
    "pipes": (("SET", "q|1|||||||"),),
    "counts": (("SET", f"q|1||default:5|{'9' * 20}|{'9' * 20}|"),),
    "a number": (("SET", "12345678901234567890"),),
    "bytes": (("SET", b"r|\xff\x00|\xfe|\n|\xc3\x28"),),
    "much": (("SET", b"9" * MEGABYTE),),
    "a list": (("RPUSH", "junk", b"\xff\xfe", "a|b", ""),),
    "a set": (("SADD", "junk", b"\xff\xfe", "a|b", ""),),
    "a hash": (("HSET", "#", "junk", "queued-1", "a|b", b"\xff", b"\xfe", b"\xfe", "7"),),
    "a sorted set": (("ZADD", 1, "junk", 2, b"\xff\xfe", "-inf", "a|b"),),
    "a stream": (("XADD", "*", "junk", b"\xff"),),
}
ADDED: dict[str, Change] = {
    "string": (("APPEND", "|junk|"),),
    "list": (("RPUSH", "junk", b"\xff\xfe", "a|b", "", "x" * 10_000, "queued-1"), ("LPUSH", "done", b"\xfe")),
    "set": (("SADD", "junk", b"\xff\xfe", "a|b", "", "queued-1", "done"),),
    "hash": (
        ("HSET", "junk", "junk", b"\xff", b"\xfe", "a|b", "9" * 5_000, "", "", "p", "-1", "queued-1", "1:1:1:1"),
        ("HSET", "g", "junk", "expires", "junk", "#", "junk", "default", "junk"),
    ),
    "zset": (
        ("ZADD", "-inf", "t:junk", 1, b"t:\xff", 2, "x:a|b", 3, "", 4, "t:", 5, "x:queued-1", 6, "t:done"),
        ("ZADD", "inf", "t:never", 1.5, "x:half", 9e15, b"\xfe"),
    ),
    "stream": (("XADD", "*", "junk", b"\xff"), ("XADD", "*", "d", "no line")),
}  # fmt: skip

DUMP_ALL = """
local words = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do words[#words + 1] = key .. redis.call('DUMP', key) end
return words
"""

SHARED = {
    "meta": "hash", "agenda": "zset", "procs": "zset", "beats": "hash", "queues": "hash", "tasks": "hash",
    "recent": "stream", "limbo": "set", "quarantine": "stream", "waits": "hash", "q:default:5": "list",
    "q:default:9": "list", "wake:default": "list", "serves:default": "set", "dead:default": "zset",
    "held:p": "hash", "info:p": "string", "control:p": "hash", f"knows:{JOB}": "set", f"parked:{JOB}": "set",
    "inbox:c1": "list", f"u:{JOB}:k": "string", "stats": "hash", "mark": "string", "wrong:agenda": "string",
}  # fmt: skip
LIVING = ("queued-1", "queued-2", "flagged", "later", "retried", "parked", "running-1", "running-2")
OWN = tuple(f"{kind}:{id}" for id in (*LIVING, "done", "dead", "tombstone") for kind in ("t", "b", "x"))


class Scene:
    """Tasks in every state, what every script does to them, and how it all ends."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.extra: set[str] = set()
        """Tasks that were accepted after the change."""
        lab.broker.run(lab.broker.namespace.meet(0))
        lab.jump(0)
        lab.hello("p", "q", queues=QUEUES)
        lab.register("q", **{"app.other": "default"})
        lab.enqueue("done", "dead", "retried", "parked", "running-1", "running-2")
        done, dead, retried, parked, *self.running = lab.take("p", 6)
        lab.settle("p", [done])
        lab.settle("p", [dead], Kind.FAILED)
        lab.settle("p", [retried], Kind.RETRY, HOUR_MS)
        lab.park("p", parked, JOB)
        lab.enqueue("later", delay_ms=HOUR_MS)
        lab.enqueue("queued-1", "tombstone", "queued-2")
        lab.enqueue("flagged", expires_in_ms=9 * HOUR_MS, key=f"{JOB}:k")
        lab.cancel("tombstone")
        lab.call(producing.wait(lab.keys, "c1", ["queued-1", "running-1"]))

    def change(self, tail: str, change: Change, *, overwrite: bool) -> set[str]:
        """Make the change; gives the tasks that it may cost: those it was made to."""
        lab = self.lab
        if tail == "stats":
            tail = lab.names("stats:*")[0]
        key = lab.keys.prefix + tail
        touched = {tail[2:]} if tail[:2] in ("t:", "b:", "x:") else set()
        if overwrite:
            if tail == "q:default:5":
                touched |= set(lab.ready())
            lab.redis("DEL", key)
        for name, *rest in change:
            lab.redis(name, key, *rest)
        return touched

    def battery(self, luck: random.Random | None = None) -> None:
        """Run every script, in any order with `luck`. One that refuses must have written nothing before."""
        lab, keys = self.lab, self.lab.keys
        first, second = self.running
        steps: list[Callable[[], object]] = [
            lambda: self.enqueue("new"),
            lambda: self.enqueue("new-later", delay_ms=HOUR_MS, expires_in_ms=9 * HOUR_MS, key=f"{JOB}:l"),
            lambda: lab.enqueue("twin", key=f"{JOB}:k"),
            lambda: lab.hello("fresh", queues=QUEUES),
            lambda: lab.register("fresh", **{"app.third": "default"}),
            lambda: lab.claim("fresh", 0, queues=QUEUES),
            lambda: lab.start("p", first),
            lambda: lab.claim("p", 3, seq=1, queues=QUEUES),
            lambda: lab.settle("p", [second], Kind.RELEASED),
            lambda: lab.settle("p", [second], Kind.RELEASED),
            lambda: self.back_and_forth("fresh"),
            lambda: lab.beat("p", "q", "fresh"),
            lambda: lab.cancel("ghost"),
            lambda: lab.cancel("done"),
            lambda: lab.call(producing.wait(keys, "c1", ["queued-1", "flagged", "done", "ghost"])),
            lambda: lab.call(operating.pause(keys, "mail")),
            lambda: lab.call(operating.bound(keys, "mail", "set", 1_000)),
            lambda: lab.call(operating.purge(keys, "mail", 5, 1_000)),
            lambda: lab.call(operating.resume(keys, "mail")),
            lambda: lab.call(operating.requeue(keys, "dead", "default", 60_000, "again", "mail:5", b"m")),
            lambda: lab.call(operating.discard(keys, "default")),
            lambda: lab.park("fresh", Claimed("ghost", 1, b"", b""), JOB),
            lambda: lab.reap("q"),
            lambda: lab.reconcile("queued-1", "later", "retried", "parked", "running-1", "flagged", "done"),
            lambda: lab.mend(*QUEUES),
        ]
        if luck is not None:
            luck.shuffle(steps)
        for step in steps:
            self.attempt(step)

    def attempt(self, step: Callable[[], object]) -> None:
        before = self.dump()
        try:
            step()
        except ClaimRefused:
            pass
        except BrokerError as error:
            assert any(told in str(error) for told in ("TQHELD", "TQBAD", "WRONGTYPE", "wrong kind")), error  # noqa: PT017 - it may raise nothing
            assert self.dump() == before, error  # noqa: PT017

    def enqueue(self, id: str, **given: Any) -> None:
        if self.lab.enqueue(id, **given)[0].created:
            self.extra.add(id)

    def back_and_forth(self, process: str) -> None:
        if tasks := self.lab.claim(process, 2, queues=QUEUES).tasks:
            self.lab.settle(process, tasks, Kind.RELEASED)

    def dump(self) -> set[bytes]:
        """All that there is, whatever its type."""
        words: list[bytes] = self.lab.redis("EVAL", DUMP_ALL, 0, self.lab.keys.prefix + "*")
        return set(words)

    def sweep(self) -> None:
        """What sweepers and starting workers do, twice over: what one finds, the next mends."""
        lab = self.lab
        for _ in range(2):
            lab.mend(*QUEUES)
            for process in ("p", "q", "fresh"):
                lab.reap_all(process, None)
            lab.reconcile(*(name[2:] for name in lab.names("t:*") if name.isascii()))

    def drain(self) -> tuple[Counter[str], Counter[Answer]]:
        """Give everything to one fresh process; how often each task came, and what its settling said."""
        lab = self.lab
        self.sweep()
        lab.hello("z", queues=QUEUES)
        while lab.register("z", **{JOB: "default"}):
            pass
        given: Counter[str] = Counter()
        answers: Counter[Answer] = Counter()
        for _ in range(6):
            lab.pass_time(HOUR_MS // 3)
            lab.reconcile(*(name[2:] for name in lab.names("t:*") if name.isascii()))
            while tasks := lab.claim("z", queues=QUEUES).tasks:
                given.update(ids(tasks))
                answers.update(lab.settle("z", tasks))
                assert given.total() < 100, given
        return given, answers

    def judge(self, touched: set[str]) -> None:
        lab = self.lab
        intact = ({*LIVING} | self.extra) - touched
        given, answers = self.drain()
        assert {id: given[id] for id in intact} == dict.fromkeys(intact, 1)
        assert max(given.values()) == 1
        assert answers.keys() <= {Answer.COMMITTED}
        assert {id for id in intact if lab.state(id) is not State.SUCCEEDED} == set()
        assert lab.held("z") == {}
        lab.forget_tokens(*QUEUES)
        assert lab.claim("z", queues=QUEUES).tasks == []
        assert lab.claim("z", 0, queues=QUEUES).tasks == []
        assert [lab.tokens(queue) for queue in QUEUES] == [0, 0]


@pytest.fixture
def scenes(server: RedisServer, namespace: str) -> Iterator[Callable[[], Scene]]:
    """Scenes one after the other, each in a namespace that has nothing else."""
    with Lab(server.url, namespace) as lab, server.client() as client:

        def scene() -> Scene:
            forget(client, namespace)
            lab.restart()
            return Scene(lab)

        yield scene
        forget(client, namespace)


def run(scene: Scene, tail: str, change: Change, *, overwrite: bool) -> None:
    touched = scene.change(tail, change, overwrite=overwrite)
    scene.battery()
    scene.judge(touched)


def test_without_any_change_every_task_comes_once(scenes: Callable[[], Scene]) -> None:
    scene = scenes()
    scene.battery()
    assert scene.extra == {"new", "new-later"}
    scene.judge(set())


@pytest.mark.parametrize("tail", SHARED)
def test_a_shared_key_that_is_overwritten_costs_no_task(scenes: Callable[[], Scene], tail: str) -> None:
    for how, change in OVERWRITTEN.items():
        if (tail, how) == ("meta", "a hash"):
            continue  # that is a namespace of another format: nobody may touch it
        scene = scenes()
        try:
            run(scene, tail, change, overwrite=True)
        except AssertionError as error:
            error.add_note(f"{tail} overwritten with {how}")
            raise


@pytest.mark.parametrize("tail", SHARED)
def test_a_shared_key_that_is_added_to_costs_no_task(scenes: Callable[[], Scene], tail: str) -> None:
    run(scenes(), tail, ADDED[SHARED[tail]], overwrite=False)


@pytest.mark.parametrize("id", sorted({tail[2:] for tail in OWN}))
def test_the_keys_of_one_task_cost_no_other(scenes: Callable[[], Scene], id: str) -> None:
    for kind in ("t", "b", "x"):
        for how, change in OVERWRITTEN.items():
            scene = scenes()
            try:
                run(scene, f"{kind}:{id}", change, overwrite=True)
            except AssertionError as error:
                error.add_note(f"{kind}:{id} overwritten with {how}")
                raise


@pytest.mark.parametrize("seed", range(20))
def test_several_changes_at_once_cost_no_other_task(scenes: Callable[[], Scene], seed: int) -> None:
    luck = random.Random(seed)
    scene = scenes()
    touched: set[str] = set()
    told = []
    for _ in range(luck.randint(2, 5)):
        tail = luck.choice([*SHARED, *OWN])
        if tail in SHARED and luck.random() < 0.4:
            overwrite, change = False, ADDED[SHARED[tail]]
        else:
            how = luck.choice(sorted(OVERWRITTEN.keys() - ({"a hash"} if tail == "meta" else set())))
            overwrite, change = True, OVERWRITTEN[how]
        told.append((tail, change if overwrite else "added to"))
        try:
            touched |= scene.change(tail, change, overwrite=overwrite)
        except BrokerError as error:
            assert "WRONGTYPE" in str(error)  # noqa: PT017 - it has another type already
        scene.battery(luck)
    try:
        scene.judge(touched)
    except AssertionError as error:
        error.add_note(str(told)[:2_000])
        raise
