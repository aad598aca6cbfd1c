"""Replies of the server: as the engine, the supervisor and clients read them, and as listings do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from taskq.broker.command import Command, Steps, run_steps
from taskq.broker.commands import producing, reading, working
from taskq.broker.commands.working import Claimed, ClaimRefused
from taskq.broker.keys import Keys
from taskq.config import AppConfig
from taskq.errors import TaskqError
from taskq.frame import FrameCodec
from taskq.inspector import dead, orphans
from taskq.inspector.compat import compat
from taskq.inspector.detail import detail
from taskq.inspector.listing import Filter, tasks
from taskq.inspector.processes import processes, registered
from taskq.inspector.queues import queues
from taskq.inspector.scan import Budget
from taskq.message import Message, encode_message
from taskq.names import check_name
from taskq.payloads import NO_STORE
from taskq.worker.channel import Channel
from tests.fuzz.targets.wire import ID, MOST, PLAIN, SIGNED, send, take_in

KEYS = Keys("fuzz")
NAMES = ("p1", "p2")
MESSAGE = encode_message(Message("early"))


def reply(data: bytes) -> None:
    """The words of `data`, one a line, in each reply whose words stand in keys that anybody may have written."""
    words = data.split(b"\n")
    even = words if len(words) % 2 == 0 else [*words, b""]
    held = working.holds(KEYS, "p1").decode(even)
    working.settle(KEYS, "p1", [(id, hold.g, "L", 0, "-", 0, b"") for id, hold in held.items()])
    counts = working.beats(KEYS).decode(even)
    names = working.processes(KEYS).decode(words)
    for process in (*counts, *names):
        working.reap(KEYS, process, 1).words()
    for beat in working.beat(KEYS, 1, NAMES).decode([[1, *even], [0]]):
        _pass_on(beat.cancels)
    for word in words:
        producing.told(word)
        take_in(Claimed(ID, 7, word, MESSAGE))
    fitting = [*words, *[b"1"] * (-len(words) % 4)]
    with suppress(ClaimRefused, ValueError):
        working.as_batch(
            [b"ok", 1, 1, 5, *(b"7" if at % 4 == 1 else word for at, word in enumerate(fitting))]
        )
    producing.wait(KEYS, "c", NAMES).decode([words[0] or None, words[-1]])
    queue = reading.registered_queue(KEYS, "send").decode(words[0] or None)
    assert not queue or check_name("the queue", queue)
    producing.init(KEYS, 1).decode(even[:2])


def _pass_on(cancels: dict[str, int]) -> None:
    """As a supervisor hands it to its child."""
    one, other = Channel.pair()
    try:
        one.send(kind="cancel", tasks=cancels)
        for message in other.messages():
            for _ in message["tasks"].items():
                pass
    finally:
        one.close()
        other.close()


class Server:
    """Answers reads in the shape that Redis has for them; each word comes from the input, until that is spent."""

    def __init__(self, data: bytes) -> None:
        self._words = iter(data.split(b"\n"))
        self._of: dict[str, Callable[[Command[Any]], Any]] = {
            "MGET": lambda command: [self._word() for _ in command.args],
            "HMGET": lambda command: [self._word() for _ in command.args[1:]],
            "ZMSCORE": lambda command: [self._score() for _ in command.args[1:]],
            "SMISMEMBER": lambda command: [0 for _ in command.args[1:]],
            "GET": lambda _: self._word(),
            "HGET": lambda _: self._word(),
            "LINDEX": lambda _: self._word(),
            "ZSCORE": lambda _: self._score(),
            "LRANGE": lambda _: [*self._some(3)],
            "SMEMBERS": lambda _: [*self._some(3)],
            "ZRANGE": self._ranked,
            "HGETALL": lambda _: self._pairs(),
            "HSCAN": lambda _: [b"0", self._pairs()],
            "SSCAN": lambda _: [b"0", [*self._some(3)]],
            "SCAN": lambda command: [
                b"0",
                [str(command.args[2])[:-1].encode() + one for one in self._some(3)],
            ],
            "XREVRANGE": lambda _: [[b"%d-0" % at, [b"d", one]] for at, one in enumerate(self._some(3), 1)],
            "TIME": lambda _: [b"1764000000", b"1"],
            "LPOS": lambda _: None,
        }

    def __call__(self, command: Command[Any]) -> Any:
        answer = self._of.get(command.name)
        return command.decode(answer(command) if answer else 1)

    def _word(self) -> bytes | None:
        return next(self._words, None) or None

    def _some(self, most: int) -> Iterator[bytes]:
        for _ in range(most):
            if (word := self._word()) is None:
                return
            yield word

    def _pairs(self) -> list[bytes]:
        return [part for word in self._some(3) for part in word.partition(b"=")[::2]]

    def _score(self) -> bytes | None:
        """A score is a number, whoever wrote it."""
        word = self._word()
        return None if word is None else (b"-inf", b"inf", b"1.5", b"1e+300", b"1764000000000")[len(word) % 5]

    def _ranked(self, command: Command[Any]) -> list[bytes]:
        words = [*self._some(3)]
        if "WITHSCORES" not in command.args:
            return words
        return [part for word in words for part in (word, b"1764000000000" if len(word) % 2 else b"-inf")]


def listing(data: bytes) -> None:
    """Every look that the command line has."""
    for look in _looks():
        with suppress(TaskqError):
            run_steps(look, Server(data))


def _looks() -> Iterator[Steps[Any]]:
    shards = [KEYS]
    for frames in (PLAIN, SIGNED):
        yield tasks(shards, frames=frames, budget=Budget(100, 1))
        yield detail(KEYS, ID, frames)
        yield dead.requeue(KEYS, "default", ID, 1_000, frames)
        yield compat("fuzz", {send.name: send}, frames, NO_STORE, shards, seconds=1)
    yield queues(shards, Budget(100, 1))
    yield processes(shards, Budget(100, 1))
    yield registered(shards, Budget(100, 1))
    yield orphans.find_orphans(KEYS, Budget(100, 1))
    yield dead.requeue_all(shards, Filter(), 1_000, FrameCodec.of(AppConfig(max_payload=MOST), "fuzz", 1))


def seeds() -> dict[str, dict[str, bytes]]:
    """Words as they stand in a server, for the targets of this file."""
    import msgspec

    from tests.fuzz.targets import wire

    made = wire.seeds()
    info = msgspec.msgpack.encode(
        {"name": "w", "host": "h", "pid": 7, "app": "fuzz", "queues": ["default"], "concurrency": 8}
    )
    id = ID.encode()
    replies = {
        "held": b"\n".join([b"#", b"3", id, b"3:1:1764000000000001:0", b"1-x", b"3:2:1764000000000002:1"]),
        "counts": b"p1p1p1p1p1p1\n12\np2p2p2p2p2p2\n9",
        "inbox": b"\n".join([id + b" " + made["record"]["succeeded"].replace(b"\n", b""), id]),
        "rest": b"0|0||default:5|\n1|2|cx|mail:9|1764000000000",
        "queue": b"mail|1764000000000",
    }
    listings = {
        "queues": b"\n".join(
            [b"default=on", b"mail=paused", id, id, made["record"]["running"], made["message"]["plain"]]
        ),
        "task": b"\n".join([made["record"]["failed"], made["message"]["plain"], b"1764000000000"]),
        "signed": b"\n".join([made["record"]["signed"], made["message"]["signed"]]),
        "processes": b"\n".join([b"p1p1p1p1p1p1", b"p2p2p2p2p2p2=3", b"1764000009000", info]),
        "recent": b"S " + id + b" send 12\nF " + id + b" send 3",
        "tasks": b"send=default|1764000000000\np1p1p1p1p1p1",
    }
    return {"reply": replies, "listing": listings}
