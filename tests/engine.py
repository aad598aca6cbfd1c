"""The engine under a microscope: short words for commands, and a look at every key that they touch."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from shutil import copytree
from types import TracebackType
from typing import Any, Self

import pytest

from taskq.broker import command as command_module
from taskq.broker.client import Broker
from taskq.broker.command import Argument, Command, same, script, text
from taskq.broker.commands import operating, producing, working
from taskq.broker.commands.producing import Envelope, Stored, options
from taskq.broker.commands.working import Answer, Batch, Beat, Claimed, ClaimRefused, Hold, Kind, Outcome7
from taskq.record import Record, State, parse_record

_SCRIPTS = command_module.SCRIPTS

LEASE_MS = 30_000
HOUR_MS = 3_600_000
DEFAULT = "default:5"


class Lab:
    """A broker and what it does to one namespace of one server.

    Words that take ids or processes make what a program or a worker would send; `redis` sends anything else.
    A claim's seq counts by itself unless one is given.
    """

    def __init__(self, url: str, namespace: str, **broker: Any) -> None:
        given: dict[str, Any] = {"patience": 5.0, **broker}
        self.broker = Broker(url, namespace, **given)
        self.keys = self.broker.keys[0]
        self._seqs: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.broker.close()

    def restart(self) -> None:
        """Forget what this lab has sent: its namespace begins anew."""
        self._seqs.clear()
        self.broker.namespace.lost(0)

    def call(self, command: Command[Any]) -> Any:
        return self.broker.call(command)

    def redis(self, *words: Argument) -> Any:
        """Send one plain command; the reply comes as the server gave it."""
        return self.broker.call(Command(str(words[0]), "", words[1:], same))

    # -- what programs do

    def enqueue(self, *ids: str, list: str = DEFAULT, not_after_ms: int = 0, **given: Any) -> list[Stored]:
        return self.store([envelope(id, list, options(**given)) for id in ids], not_after_ms)

    def store(self, envelopes: Sequence[Envelope], not_after_ms: int = 0) -> list[Stored]:
        _, stored = self.call(producing.enqueue(self.keys, envelopes, not_after_ms))
        answers: list[Stored] = stored
        return answers

    def cancel(self, id: str, ttl_ms: int = 600_000) -> State | None:
        state: State | None = self.call(producing.cancel(self.keys, id, ttl_ms))
        return state

    # -- what workers do

    def hello(self, *processes: str, queues: Sequence[str] = ("default",), lease_ms: int = LEASE_MS) -> None:
        for process in processes:
            self.call(working.hello(self.keys, process, lease_ms, b"", queues))

    def claim(
        self, process: str, limit: int = 256, *, seq: int | None = None, queues: Sequence[str] = ("default",)
    ) -> Batch:
        if seq is None:
            self._seqs[process] += 1
            seq = self._seqs[process]
        words = working.claim_words(self.keys, queues)
        batch: Batch = self.call(working.claim(self.keys, process, seq, limit, words))
        return batch

    def take(self, process: str, limit: int = 256, queues: Sequence[str] = ("default",)) -> list[Claimed]:
        """Claim until nothing comes, or `limit` has come: past the share of one claim."""
        taken: list[Claimed] = []
        while len(taken) < limit and (some := self.claim(process, limit - len(taken), queues=queues).tasks):
            taken += some
        return taken

    def settle(
        self, process: str, tasks: Iterable[Claimed], kind: Kind = Kind.SUCCEEDED, ms: int = 600_000
    ) -> list[Answer]:
        return self.report(process, [outcome(task, kind, ms) for task in tasks])

    def report(self, process: str, outcomes: Sequence[Outcome7]) -> list[Answer]:
        answers: list[Answer] = self.call(working.settle(self.keys, process, outcomes))
        return answers

    def start(self, process: str, task: Claimed) -> bool:
        return bool(self.call(working.start(self.keys, process, task.id, task.g)))

    def park(self, process: str, task: Claimed, name: str) -> str:
        return str(self.call(working.park(self.keys, process, task.id, task.g, name)))

    def register(self, process: str, **tasks: str) -> int:
        return int(self.call(working.register(self.keys, process, tasks)))

    def beat(self, *processes: str, lease_ms: int = LEASE_MS) -> list[Beat]:
        beats: list[Beat] = self.call(working.beat(self.keys, lease_ms, processes))
        return beats

    def reap(self, process: str, beats: int | None = 0) -> int:
        return int(self.call(working.reap(self.keys, process, beats)))

    def reap_all(self, process: str, beats: int | None = 0) -> None:
        while self.reap(process, beats) > 0:
            pass

    def reconcile(self, *ids: str) -> int:
        return int(self.call(working.reconcile(self.keys, ids)))

    def mend(self, *queues: str) -> list[str]:
        return list(self.call(working.mend(self.keys, queues or ("default",))))

    # -- what stands in the server

    def raw(self, id: str) -> bytes | None:
        """The record's bytes."""
        value: bytes | None = self.redis("GET", self.keys.record(id))
        return value

    def record(self, id: str) -> Record | None:
        raw = self.raw(id)
        return None if raw is None else parse_record(raw)

    def state(self, id: str) -> State | None:
        record = self.record(id)
        if record is not None:
            return record.state
        return State.QUEUED if self.has_message(id) else None

    def has_message(self, id: str) -> bool:
        return bool(self.redis("EXISTS", self.keys.message(id)))

    def ready(self, list: str = DEFAULT) -> list[str]:
        queue, _, priority = list.partition(":")
        return self.texts("LRANGE", self.keys.ready(queue, int(priority)), 0, -1)

    def forget(self, *ids: str) -> None:
        """Delete what there is of tasks, as nothing in taskq does."""
        self.redis("DEL", *(f"{self.keys.prefix}{kind}:{id}" for id in ids for kind in "tbx"))

    def tokens(self, queue: str = "default") -> int:
        return int(self.redis("LLEN", self.keys.wake(queue)))

    def forget_tokens(self, *queues: str) -> None:
        self.redis("DEL", *(self.keys.wake(queue) for queue in queues or ("default",)))

    def agenda(self) -> dict[str, int]:
        """Entry → ms until it falls due."""
        now_ms = self.now_ms()
        pairs = self.texts("ZRANGE", self.keys.agenda, 0, -1, "WITHSCORES")
        return {pairs[i]: int(float(pairs[i + 1])) - now_ms for i in range(0, len(pairs), 2)}

    def held(self, process: str) -> dict[str, Hold]:
        holds: dict[str, Hold] = self.call(working.holds(self.keys, process))
        return holds

    def dead(self, queue: str = "default") -> list[str]:
        return self.texts("ZRANGE", self.keys.dead(queue), 0, -1)

    def limbo(self) -> set[str]:
        return set(self.texts("SMEMBERS", self.keys.limbo))

    def quarantined(self) -> list[tuple[str, str]]:
        """(reason, id) of each entry."""
        entries = self.redis("XRANGE", self.keys.quarantine, "-", "+")
        return [(text(fields[1]), text(fields[3])) for _, fields in entries]

    def recent(self) -> list[str]:
        """The lines that listings read, without the durations."""
        entries = self.redis("XRANGE", self.keys.recent, "-", "+")
        lines = [line for _, fields in entries for line in text(fields[1]).split("\n")]
        return [line.rpartition(" ")[0] for line in lines]

    def stats(self) -> dict[str, int]:
        """`task|kind` → how many, over all minutes."""
        total: Counter[str] = Counter()
        for key in self.names("stats:*"):
            pairs = self.texts("HGETALL", self.keys.prefix + key)
            total.update({pairs[i]: int(pairs[i + 1]) for i in range(0, len(pairs), 2)})
        return {label: n for label, n in total.items() if n}

    def names(self, pattern: str = "*") -> list[str]:
        """The tails of all keys that match."""
        return sorted(
            name.removeprefix(self.keys.prefix) for name in self.texts("KEYS", self.keys.prefix + pattern)
        )

    def ttl(self, tail: str) -> int:
        """Milliseconds that a key has left; -1 for ever, -2 there is none."""
        return int(self.redis("PTTL", self.keys.prefix + tail))

    def texts(self, *words: Argument) -> list[str]:
        return [str(word, "utf-8", "backslashreplace") for word in self.redis(*words)]

    def snapshot(self) -> dict[str, Any]:
        """Every key with what it holds, to compare; without the tokens, of which another does no harm."""
        return {name: self._value(self.keys.prefix + name) for name in self.names() if name[:5] != "wake:"}

    def _value(self, key: str) -> Any:
        kind = text(self.redis("TYPE", key))
        if kind == "string":
            return self.redis("GET", key)
        if kind == "list":
            return self.redis("LRANGE", key, 0, -1)
        if kind == "set":
            return sorted(self.redis("SMEMBERS", key))
        if kind == "zset":
            return self.redis("ZRANGE", key, 0, -1, "WITHSCORES")
        if kind == "stream":
            return self.redis("XRANGE", key, "-", "+")
        pairs = self.redis("HGETALL", key)
        return dict(zip(pairs[::2], pairs[1::2], strict=True))

    # -- time

    def now_ms(self) -> int:
        """The time that scripts see."""
        seconds, micros = self.redis("TIME")
        skew = self.redis("GET", self.keys.prefix + "skew")
        return int(seconds) * 1_000 + int(micros) // 1_000 + int(skew or 0)

    def jump(self, ms: int) -> None:
        """Move the clock that scripts see; needs the fixture `jumping_clock`."""
        self.redis("SET", self.keys.prefix + "skew", ms, "PX", 600_000)

    def pass_time(self, ms: int) -> None:
        """Move the clock on, and let what lives beat."""
        self.jump(ms + int(self.redis("GET", self.keys.prefix + "skew") or 0))
        living = self.texts("ZRANGE", self.keys.processes, 0, -1)
        if living:
            self.beat(*living)

    # -- the end

    def wind_up(self) -> None:
        """End whatever is left the way users and workers can: what stays then without a TTL has leaked."""
        known = {*self.texts("ZRANGE", self.keys.processes, 0, -1), *self.texts("HKEYS", self.keys.beats)}
        for process in known:
            self.reap_all(process, None)
        for id in {name[2:] for name in self.names("[tb]:*")}:
            self.cancel(id)
        queues = [*self.texts("HKEYS", self.keys.queues)]
        for queue in queues:
            self.call(operating.resume(self.keys, queue))
            while self.call(operating.discard(self.keys, queue))[1]:
                pass
        if queues:
            self.hello("undertaker", queues=queues)
            while any(self.redis("LLEN", key) for queue in queues for key in self.keys.lists(queue)):
                assert not self.claim("undertaker", queues=queues).tasks
            self.reap_all("undertaker", None)
            self.forget_tokens(*queues)


def body(id: str) -> bytes:
    """The message that `Lab.enqueue` stores under an id. Scripts do not look into it."""
    return b"body of " + id.encode()


def envelope(id: str, list: str = DEFAULT, options: str = "") -> Envelope:
    return Envelope(id, list, body(id), options)


def outcome(task: Claimed, kind: Kind = Kind.SUCCEEDED, ms: int = 600_000, result: bytes = b"") -> Outcome7:
    return (task.id, task.g, kind.value, ms, "job", 3, result)


def ids(tasks: Batch | Iterable[Claimed]) -> list[str]:
    return [task.id for task in (tasks.tasks if isinstance(tasks, Batch) else tasks)]


def refused(lab: Lab, process: str, **claim: Any) -> bool:
    """True if the claim is refused: the process must take a new name, or beat."""
    try:
        lab.claim(process, **claim)
    except ClaimRefused:
        return True
    return False


@contextlib.contextmanager
def altered_scripts(
    monkeypatch: pytest.MonkeyPatch, folder: Path, changes: Iterable[tuple[str, str, str]]
) -> Any:
    """Send scripts with some of their text replaced: `[("settle", "10000", "3")]`. Each must be found."""
    copy = folder / "altered"
    copytree(_SCRIPTS, copy / "scripts")  # the real ones, also within another alteration
    for name, old, new in changes:
        file = copy / "scripts" / f"{name}.lua"
        before = file.read_text()
        assert old in before, f"{name}.lua does not have {old!r} any more"
        file.write_text(before.replace(old, new))
    with monkeypatch.context() as patch:
        patch.setattr(command_module, "SCRIPTS", str(copy / "scripts"))
        script.cache_clear()
        try:
            yield
        finally:
            script.cache_clear()
