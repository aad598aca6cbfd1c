"""What worker processes send: hello, register, claim, settle, start, park, beat, reap, reconcile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from taskq.broker.command import Command, text, whole
from taskq.broker.keys import PRIORITIES, Keys
from taskq.names import is_id

BATCH = 256
"""How many tasks one `claim` gives, and one `settle` takes, at most."""

BATCH_BYTES = 1_000_000
"""Of how many bytes; a larger message or outcome goes alone. A script that copies more holds up all others."""


_MOST_RUNS = 1 << 31
"""Above what `max_retries` may be."""


def _name(reply: bytes) -> str:
    """Read an id or a process such that `_bytes` gives the very same again: hostile bytes come as names too."""
    return str(reply, "utf-8", "surrogateescape")


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _count(reply: bytes) -> int | None:
    """Read a counter; None where other bytes stand."""
    return int(reply) if reply.isdigit() and len(reply) < 20 else None


class Kind(Enum):
    """What became of a claimed task. The letters are those of `settle.lua`."""

    def __init__(self, letter: str) -> None:
        self.letter = letter

    SUCCEEDED = "S"
    FAILED = "F"
    CANCELLED = "C"
    EXPIRED = "E"
    RETRY = "R"
    RELEASED = "L"
    CRASHED = "X"
    SUSPECT = "K"
    UNREADABLE = "Q"


SUCCEEDED, FAILED, RETRY, RELEASED = Kind.SUCCEEDED, Kind.FAILED, Kind.RETRY, Kind.RELEASED
"""For those who ask it of every task: Python 3.11 takes 0.1 µs to find a member in its class."""


class Answer(Enum):
    """What `settle` says of one outcome."""

    COMMITTED = b"c"
    ALREADY = b"a"
    LOST = b"l"
    GONE = b"g"


COMMITTED = Answer.COMMITTED
"""As `SUCCEEDED`."""

_ANSWERS = {answer.value: answer for answer in Answer}


class Claimed(msgspec.Struct):
    """One task as a claim gives it. `rest` is `f|c|flags|queue:priority|expires_ms`; see `Rest`."""

    id: str
    g: int
    rest: bytes
    message: bytes

    def __repr__(self) -> str:
        return f"<Claimed {self.id} g={self.g}>"  # without its message: it may be secret

    @property
    def expires(self) -> bool:
        """True if it does."""
        return not self.rest.endswith(b"|")


@dataclass(frozen=True, slots=True)
class Rest:
    """What a claim says of a task beside its message. `expires_ms` is Redis time, 0 for never."""

    failures: int
    crashes: int
    flags: str
    queue: str
    priority: int
    expires_ms: int

    @property
    def careful(self) -> bool:
        """True if it may have killed a process: it runs alone."""
        return "c" in self.flags


def parse_rest(rest: bytes) -> Rest:
    """Unpack `Claimed.rest`.

    Raises:
        ValueError: it is none, or counts what no task comes to: who wrote that record is none of ours.
    """
    failures, crashes, flags, where, expires = rest.decode().split("|")
    queue, _, priority = where.partition(":")
    counts = int(failures), int(crashes)
    if not 0 <= min(counts) <= max(counts) <= _MOST_RUNS:
        raise ValueError(f"the record counts {failures[:20]} failures and {crashes[:20]} crashes")
    return Rest(*counts, flags, queue, int(priority), int(expires or 0))


@dataclass(slots=True)
class Batch:
    """A claim's reply. `now_ms` is Redis time, `due_ms` the time to the agenda's next entry, None without one.

    `left` is True if ready work was left, in the last queue that it looked at, or may have been.
    """

    now_ms: int
    left: bool
    due_ms: int | None
    tasks: list[Claimed]

    @property
    def more(self) -> bool:
        """False if no work is ready any more in the queues of this claim, and nothing falls due within 10 s."""
        return self.left or (self.due_ms is not None and self.due_ms < 10_000)

    def came_to(self, queue: str) -> bool:
        """True if it looked at this queue: what is ready there was given, or has a token."""
        of_queue = f"|{queue}:".encode()
        return not self.left or any(of_queue in claimed.rest for claimed in self.tasks)


class ClaimRefused(Exception):
    """Raised by a claim's decoder when the process has no valid lease, or used a lower seq: it must take a new name."""


def hello(keys: Keys, process: str, lease_ms: int, info: bytes, queues: Sequence[str]) -> Command[int]:
    """Register one life of a process; gives Redis time in ms."""
    return Command("hello", keys.meta, (process, lease_ms, info, *queues), whole, keys.shard)


def register(keys: Keys, process: str, tasks: Mapping[str, str]) -> Command[int]:
    """Note which tasks (name → queue) a process knows; gives how many stay parked: repeat until 0."""
    words = [word for pair in tasks.items() for word in pair]
    return Command("register", keys.meta, (process, *words), whole, keys.shard)


def claim_words(keys: Keys, queues: Sequence[str]) -> tuple[str | int, ...]:
    """The last part of a claim's arguments, the same for all claims over these queues in this order."""
    return (len(queues), *queues, *(key for queue in queues for key in keys.lists(queue)))


def claim(keys: Keys, process: str, seq: int, limit: int, queue_words: Sequence[str | int]) -> Command[Batch]:
    """Take up to `limit` tasks; `queue_words` come from `claim_words`."""
    return Command("claim", keys.meta, (process, seq, limit, *queue_words), as_batch, keys.shard)


def as_batch(reply: Any) -> Batch:
    """Read a claim's reply.

    Raises:
        ClaimRefused: the process must take a new name.
    """
    if reply[0] != b"ok":
        raise ClaimRefused(text(reply[0]))
    due = int(reply[3])
    tasks = [
        # `_name`, without the call: this is done for every task.
        Claimed(str(reply[i], "utf-8", "surrogateescape"), int(reply[i + 1]), reply[i + 2], reply[i + 3])
        for i in range(4, len(reply), 4)
    ]
    return Batch(int(reply[1]), bool(reply[2]), due if due >= 0 else None, tasks)


Outcome7 = tuple[str, int, str, int, str, int, bytes]
"""One outcome as `settle.lua` takes it: id, g, kind's letter (small: the message stays), ms, task, took_ms, outcome."""


def released(claimed: Claimed) -> Outcome7:
    """The outcome of a claimed task that is given back unstarted."""
    return (claimed.id, claimed.g, RELEASED.letter, 0, "-", 0, b"")


def settle(keys: Keys, process: str, outcomes: Sequence[Outcome7]) -> Command[list[Answer]]:
    """Commit what became of at most `BATCH` tasks."""
    words: list[str | int | bytes] = [process]
    for outcome in outcomes:
        words += outcome
        if not outcome[0].isascii():
            words[-7] = _bytes(outcome[0])
    return Command("settle", keys.meta, words, as_answers, keys.shard)


def as_answers(reply: Any) -> list[Answer]:
    """Read a settle's reply."""
    return [_ANSWERS[answer] for answer in reply]


def start(keys: Keys, process: str, id: str, g: int) -> Command[bool]:
    """Note that a careful task starts; False if another owns it."""
    return Command("start", keys.meta, (process, _bytes(id), g), bool, keys.shard)


def park(keys: Keys, process: str, id: str, g: int, task: str) -> Command[str]:
    """Set an unknown task aside: 'a' it goes round again, 'p' parked, 'c' it had been cancelled, 'l' lost."""
    return Command("park", keys.meta, (process, _bytes(id), g, task), text, keys.shard)


@dataclass(frozen=True, slots=True)
class Beat:
    """What a beat says of one process: whether its lease holds, and which tasks (id → g) are to be cancelled."""

    alive: bool
    cancels: dict[str, int]


def beat(keys: Keys, lease_ms: int, processes: Sequence[str]) -> Command[list[Beat]]:
    """Extend the leases of `processes` by `lease_ms`, and hear what was asked of them."""
    return Command("beat", keys.meta, (lease_ms, *processes), _as_beats, keys.shard)


def _as_beats(reply: Any) -> list[Beat]:
    return [Beat(bool(answer[0]), _as_cancels(answer[1:])) for answer in reply]


def _as_cancels(reply: Any) -> dict[str, int]:
    # Bytes that can be no id were written by a stranger, and JSON, which they are passed on in, may not hold them.
    return {name: g for name, g in _as_counters(reply).items() if is_id(name)}


def reap(keys: Keys, process: str, beats: int | None) -> Command[int]:
    """Take back what a process held; `beats` None: its supervisor saw it end. Gives what is left, -1 if it lives."""
    return Command(
        "reap", keys.meta, (_bytes(process), "gone" if beats is None else beats), whole, keys.shard
    )


def reconcile(keys: Keys, ids: Sequence[str]) -> Command[int]:
    """Mend records that nothing points to; at most 500 ids. Gives how many were mended."""
    return Command("reconcile", keys.meta, tuple(ids), whole, keys.shard)


def processes(keys: Keys) -> Command[list[str]]:
    """Read the names of all that are registered."""
    return Command(
        "ZRANGE", "", (keys.processes, 0, -1), lambda reply: [_name(process) for process in reply], keys.shard
    )


def beats(keys: Keys) -> Command[dict[str, int]]:
    """Read every process's beat counter."""
    return Command("HGETALL", "", (keys.beats,), _as_counters, keys.shard)


def _as_counters(reply: Any) -> dict[str, int]:
    counts = {_name(reply[i]): _count(reply[i + 1]) for i in range(0, len(reply), 2)}
    return {name: count for name, count in counts.items() if count is not None}


@dataclass(frozen=True, slots=True)
class Hold:
    """One entry of what a process holds."""

    seq: int
    index: int
    g: int
    started: bool


def holds(keys: Keys, process: str) -> Command[dict[str, Hold]]:
    """Read what a process holds: id → hold."""
    return Command("HGETALL", "", (keys.held(process),), _as_holds, keys.shard)


def _as_holds(reply: Any) -> dict[str, Hold]:
    found: dict[str, Hold] = {}
    for i in range(0, len(reply), 2):
        match [_count(part) for part in reply[i + 1].split(b":")]:
            case [int(seq), int(index), int(g), int(started)]:
                found[_name(reply[i])] = Hold(seq, index, g, bool(started))
            case _:
                pass
    return found


_TYPES = {
    "quarantine": "stream",  # first: what is found goes there
    "agenda": "zset", "procs": "zset", "beats": "hash", "queues": "hash", "tasks": "hash", "waits": "hash",
    "recent": "stream", "limbo": "set",
}  # fmt: skip


def mend(keys: Keys, queues: Sequence[str]) -> Command[list[str]]:
    """Move keys of a wrong type out of the way; gives their tails. `queues`: whose keys are looked at too."""
    words = [word for pair in _TYPES.items() for word in pair]
    for queue in queues:
        words += [f"wake:{queue}", "list", f"serves:{queue}", "set", f"dead:{queue}", "zset"]
        words += [word for priority in PRIORITIES for word in (f"q:{queue}:{priority}", "list")]
    return Command("mend", keys.meta, words, lambda reply: [text(tail) for tail in reply], keys.shard)
