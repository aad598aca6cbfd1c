"""A real worker, and keys that change under it at random: bytes of the corpus, changed, as every Redis type.

Two tasks of every round, in a queue of their own, are the neighbours: whatever stands in any key, they run, the
worker's processes live, and no command is repeated without end.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import redis

from taskq import TaskHandle
from taskq.clock import LONGEST_MS
from tests.fuzz.engine import CORPUS, Report
from tests.fuzz.mutate import INTERESTING, Mutator
from tests.workers import Worker, Yard

TASK = "tests.tests.apps.quick.tick"
VICTIM = "victim"
MOST_SCRIPTS = 300
"""A second, neighbours' work included: an idle worker sends some 10, one that loops many hundreds."""

KINDS = {
    "meta": "hash", "mark": "string", "agenda": "zset", "procs": "zset", "beats": "hash", "queues": "hash",
    "tasks": "hash", "recent": "stream", "limbo": "set", "quarantine": "stream", "waits": "hash",
    "q:default:5": "list", "wake:default": "list", "serves:default": "set", "dead:default": "zset",
    "held:{process}": "hash", "info:{process}": "string", "control:{process}": "hash", "knows:{task}": "set",
    "parked:{task}": "set", "inbox:{client}": "list", "u:{task}:k": "string", "stats:{minute}": "hash",
    "t:{victim}": "string", "b:{victim}": "string", "x:{victim}": "hash", "wrong:agenda": "stream",
}  # fmt: skip
"""Every key that there is, and its type."""

_FIELDS = ("t", "q", "p", "a", "k", "c", "mr", "to", "rt", "h", "g", "x", "o", "l", "d")
"""Of a message, as they are called on the wire."""

_FIELDS_OF_NUMBERS = ("p", "c", "mr", "to", "rt", "d")
_NUMBERS = (-(1 << 63), -1, 1 << 31, (1 << 63) - 1, (1 << 64) - 1, LONGEST_MS + 1)

_COUNTS = ("0", "1", "99", str(1 << 31), str(1 << 64), "9" * 25, "9" * 5_000, "-1", "1e9", "x", "")
_CHANGES_A_ROUND = 8
_PATIENCE_S = 30
Words = tuple[str | bytes | float, ...]


def named(yard: Yard, worker: Worker, tail: str) -> str:
    """The tail of a key that stands there now."""
    living = yard.processes(worker)
    return tail.format(
        process=living[0].id if living else "p" * 12,
        task=TASK,
        victim=VICTIM,
        client="c" * 12,
        minute=int(time.time() // 60),
    )


def sent(yard: Yard) -> int:
    """How many scripts and blocking reads were sent so far: by the worker, but for some of the test."""
    stats = yard.server.call("INFO", "commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("evalsha", "blpop"))


class Siege:
    """Rounds of changes, and what the worker has to show after each."""

    def __init__(self, yard: Yard, seed: int) -> None:
        self._yard = yard
        self._luck = random.Random(f"live {seed}")
        self._mutator = Mutator(self._luck)
        self._corpus = [path.read_bytes() for path in sorted(CORPUS.glob("[mlr]*/*"))]
        self._worker = yard.worker(
            "quick", queues=("default", "side"), concurrency=1
        )  # one slot that is lost is seen
        self._children = self._worker.children()

    def round(self) -> list[Words]:
        """Make some changes while neighbours run; gives them.

        Raises:
            AssertionError: a neighbour did not run, a process is another one, or the worker runs hot.
        """
        started, before = time.monotonic(), sent(self._yard)
        neighbours: list[TaskHandle[Any]] = []
        changes: list[Words] = []
        for _ in range(_CHANGES_A_ROUND):
            for change in self._change():
                changes.append(change)
                try:
                    self._yard.server.call(*change)
                except redis.ResponseError as error:
                    if "WRONGTYPE" not in str(error):
                        raise
            neighbours += self._yard.send_many("quick.tick", [("-",)] * 2, queue="side")
            time.sleep(0.02)
        try:
            ended = self._yard.wait_ended(neighbours, timeout=_PATIENCE_S)
            assert ended == {"succeeded": len(neighbours)}
            counts = self._yard.ledger.counts()
            assert min(counts[handle.id] for handle in neighbours) >= 1
            assert self._worker.children() == self._children, self._worker.tail()
            assert sent(self._yard) - before < MOST_SCRIPTS * (1 + time.monotonic() - started)
        except AssertionError as error:
            error.add_note("\n".join(str(change)[:2_000] for change in changes))
            raise
        return changes

    def end(self) -> None:
        """Stop the worker, as an operator would."""
        assert self._worker.stop() == 0, self._worker.tail()

    def _word(self) -> bytes:
        return self._mutator(self._luck.choice(self._corpus), self._corpus)

    def _message(self) -> bytes:
        """One that is read, but for one field maybe; or a changed one of the corpus."""
        if self._luck.random() < 0.2:
            return self._word()
        odd: dict[str, Any] = {self._luck.choice(_FIELDS): self._luck.choice(INTERESTING)}
        if self._luck.random() < 0.5:
            odd = {self._luck.choice(_FIELDS_OF_NUMBERS): self._luck.choice(_NUMBERS)}
        return b"\x01\x00" + msgspec.msgpack.encode({"t": TASK, **odd})

    def _record(self) -> bytes:
        if self._luck.random() < 0.2:
            return self._word()
        counts = "|".join(self._luck.choice(_COUNTS) for _ in range(2))
        state, flags = self._luck.choice("qqqwrpSF"), self._luck.choice(("", "c", "x", "k"))
        return f"{state}|1||default:5|{counts}|{flags}".encode()

    def _words(self) -> list[bytes]:
        return [part[:300] for part in self._word().split(b"\n")[: self._luck.randint(1, 6)]]

    def _change(self) -> Iterator[Words]:
        luck, keys = self._luck, self._yard.app.broker.keys[0]
        if luck.random() < 0.5:  # a message in its place, and maybe a record
            yield ("DEL", keys.record(VICTIM))
            yield ("SET", keys.message(VICTIM), self._message())
            if luck.random() < 0.5:
                yield ("SET", keys.record(VICTIM), self._record())
            yield ("RPUSH", keys.ready("default", 5), VICTIM)
            yield ("RPUSH", keys.wake("default"), "1")
            return
        tail = luck.choice([*KINDS])
        key, kind = keys.prefix + named(self._yard, self._worker, tail), KINDS[tail]
        if tail == "meta" or luck.random() < 0.5:
            yield ("DEL", key)
            kind = luck.choice(("string", "list", "set", "zset", "stream") if tail == "meta" else (*_FILL,))
        yield from _FILL[kind](key, self._words())
        if "victim" in tail:
            yield ("ZADD", keys.agenda, 0, f"t:{VICTIM}", 0, f"x:{VICTIM}")


def _hash(key: str, words: list[bytes]) -> Iterator[Words]:
    yield (
        "HSET",
        key,
        *(part for at, word in enumerate(words) for part in (word, b"%d" % at if at % 2 else word)),
    )


def _zset(key: str, words: list[bytes]) -> Iterator[Words]:
    yield (
        "ZADD",
        key,
        *(part for at, word in enumerate(words) for part in (("-inf", 1.5, "inf", 9e15)[at % 4], word)),
    )


_FILL = {
    "string": lambda key, words: iter([("SET", key, b"\n".join(words))]),
    "list": lambda key, words: iter([("RPUSH", key, *words), ("LPUSH", key, words[0])]),
    "set": lambda key, words: iter([("SADD", key, *words)]),
    "stream": lambda key, words: iter([("XADD", key, "*", "d", words[0])]),
    "hash": _hash,
    "zset": _zset,
}


def run(seconds: float, seed: int) -> tuple[Report, str]:
    """Besiege a worker for so long; gives what was done, and what broke, if anything did."""
    report, told = Report("live"), ""
    with tempfile.TemporaryDirectory() as folder, Yard(Path(folder)) as yard:
        siege, started = Siege(yard, seed), time.monotonic()
        try:
            while time.monotonic() - started < seconds:
                report.inputs += len(siege.round())
            siege.end()
        except AssertionError as error:
            told = "\n".join([str(error), *getattr(error, "__notes__", ())])
        report.seconds = time.monotonic() - started
    return report, told
