"""The server and the model side by side: each command is sent to one, and held against the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from taskq.broker.commands import operating, producing, working
from taskq.broker.commands.producing import Stored, options
from taskq.broker.commands.working import ClaimRefused, Kind
from taskq.record import Record, State
from tests.chaos.model.setting import START_MS, age, begin, set_clock
from tests.chaos.model.things import ENDED, LEASE_MS, MINUTE, Message, Settled
from tests.chaos.model.view import View
from tests.chaos.model.world import World
from tests.engine import Lab, body, envelope

_ENDS = {
    "C": State.CANCELLED,
    "r": State.RUNNING,
    "S": State.SUCCEEDED,
    "F": State.FAILED,
    "E": State.EXPIRED,
}


def same(got: object, expected: object) -> None:
    """Fail if the server does not say, or hold, what the model expects."""
    if got != expected:
        raise AssertionError(f"got {got}, where the model has {expected}")


@dataclass(frozen=True)
class Given:
    """One task as some claim gave it once."""

    process: str
    id: str
    g: int


class Both:
    """Begins with an empty namespace. A method a command sends it, and fails if the reply is not the model's."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.world = World(START_MS, begin(lab))
        self.given: list[Given] = []
        """What claims gave, in that order."""
        self._ends: dict[str, str] = {}
        self._tokenless: set[str] = set()

    def enqueue(self, not_after: int, messages: Sequence[Message]) -> None:
        sent = [envelope(message.id, message.list, _options(message)) for message in messages]
        stored = self.lab.store(sent, not_after)
        got = [_answer(one) for one in stored]
        expected = self.world.enqueue(not_after, messages)
        pairs = zip(messages, expected, strict=True)
        same(got, [message.id if answer == 0 else answer for message, answer in pairs])

    def cancel(self, id: str, ttl: int) -> None:
        same(self.lab.cancel(id, ttl), _ENDS.get(self.world.cancel(id, ttl)))

    def wait(self, client: str, some: Sequence[str]) -> None:
        ends = self.lab.call(producing.wait(self.lab.keys, client, some))
        got = ["" if end is None else "…" if end is State.QUEUED else _letter(end) for end in ends]
        same(got, self.world.wait(client, some))

    def hello(self, name: str, served: Sequence[str]) -> None:
        now = self.lab.call(working.hello(self.lab.keys, name, LEASE_MS, b"info", served))
        same(now, self.world.now)
        self.world.hello(name, LEASE_MS, served)

    def claim(self, name: str, seq: int, limit: int, served: Sequence[str]) -> None:
        why = self.world.claim_refused(name, seq)
        try:
            batch = self.lab.claim(name, limit, seq=seq, queues=served)
        except ClaimRefused as error:
            same(str(error), why)
            return
        assert not why, f"was given {batch.tasks}, though {why}"
        again = self.world.claim_again(name, seq)
        if again is not None:
            same([(task.id, task.message) for task in batch.tasks], [(id, body(id)) for id in again])
            return
        same(batch.due_ms, self.world.file_due())
        self.given += [Given(name, task.id, task.g) for task in batch.tasks]
        self.world.claim(name, seq, limit, served, batch)
        self.world.passed(View(self.lab).lists)

    def take_tokens(self, name: str, queue: str) -> None:
        """As all do that block on a queue; `name` claims next, and the others leave it the work.

        Who has no lease takes the tokens along, as the dead do.
        """
        taken = self.lab.redis("LPOP", self.lab.keys.wake(queue), 8)
        if taken and self.world.claim_refused(name, 0) == "refused":
            self._tokenless.add(queue)

    def settle(self, name: str, outcomes: Sequence[Settled]) -> None:
        words = [(one.id, one.g, one.letter, one.ms, "job", 3, one.outcome.encode()) for one in outcomes]
        got = [answer.value.decode() for answer in self.lab.report(name, words)]
        same(got, self.world.settle(name, outcomes))

    def start(self, name: str, id: str, g: int) -> None:
        got = self.lab.call(working.start(self.lab.keys, name, id, g))
        same(got, self.world.start(name, id, g))

    def park(self, name: str, id: str, g: int, task_name: str) -> None:
        got = self.lab.call(working.park(self.lab.keys, name, id, g, task_name))
        same(got, self.world.park(name, id, g, task_name))

    def register(self, name: str, task_name: str, queue: str) -> None:
        same(self.lab.register(name, **{task_name: queue}), self.world.register(name, task_name, queue))

    def beat(self, names: Sequence[str]) -> None:
        got = [beat.cancels if beat.alive else None for beat in self.lab.beat(*names, lease_ms=LEASE_MS)]
        same(got, self.world.beat(LEASE_MS, names))

    def reap(self, name: str, beats: int | None) -> None:
        same(self.lab.reap(name, beats), self.world.reap(name, beats))

    def pause(self, queue: str) -> None:
        self.lab.call(operating.pause(self.lab.keys, queue))
        self.world.pause(queue)

    def resume(self, queue: str) -> None:
        self.lab.call(operating.resume(self.lab.keys, queue))
        self.world.resume(queue)

    def bound(self, queue: str, by: Literal["declared", "set"], most: int | None) -> None:
        got = self.lab.call(operating.bound(self.lab.keys, queue, by, most))
        same(got, self.world.bound(queue, by, most))

    def purge(self, where: str, ttl: int) -> None:
        queue, _, priority = where.partition(":")
        same(
            self.lab.call(operating.purge(self.lab.keys, queue, int(priority), ttl)),
            self.world.purge(where, ttl),
        )

    def requeue(self, old: str, queue: str, ttl: int, new: str, where: str) -> None:
        got = self.lab.call(operating.requeue(self.lab.keys, old, queue, ttl, new, where, body(new)))
        same(got, self.world.requeue(old, queue, ttl, new, where))

    def discard(self, queue: str, some: Sequence[str]) -> None:
        same(self.lab.call(operating.discard(self.lab.keys, queue, some)), self.world.discard(queue, some))

    def sweep(self) -> None:
        same(self.lab.mend("a", "b"), [])
        same(self.lab.reconcile(*self.world.tasks), 0)

    def pass_time(self, ms: int) -> None:
        self.world.pass_time(ms)
        set_clock(self.lab, self.world.now)
        if ms % MINUTE == 0:
            age(self.lab, ms)

    def lose_scripts(self) -> None:
        self.lab.redis("SCRIPT", "FLUSH")

    def lose_connections(self) -> None:
        self.lab.redis("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")

    # -- what must hold after each step

    def check(self) -> None:
        view = View(self.lab)
        same(view.contradictions(), [])
        same(_differences(self.world, view), [])
        same(view.fence, self.world.g)
        ends = {id: str(view.values[f"t:{id}"]) for id in view.records if view.letter(id) in ENDED}
        for id in ends.keys() & self._ends.keys():
            same(ends[id], self._ends[id])
        self._ends = ends
        for queue in self.world.queues:
            if view.get(f"wake:{queue}", None):
                self._tokenless.discard(queue)
            elif self.world.ready(queue) and queue not in self._tokenless:
                raise AssertionError(f"work is ready in {queue}, and no token for who blocks on it")

    def wind_up(self) -> None:
        """Bring all to its end, as users and workers would; then accepted = ended, and nothing is left."""
        for queue in ("a", "b"):
            self.resume(queue)
        for name in [*self.world.processes]:
            while self.world.holds_of(name):
                self.reap(name, None)
            self.reap(name, None)
        self.hello("last", ("a", "b"))
        for seq in range(1, 100):
            for task in [*self.world.parked]:
                self.register("last", task, "a")
            self.claim("last", seq, 5, ("a", "b"))
            held = self.world.holds_of("last")
            if held:
                done = [
                    Settled(id, hold.g, Kind.SUCCEEDED, False, 2 * MINUTE, "") for id, hold in held.items()
                ]
                self.settle("last", done)
            elif not self.world.living() and not any(self.world.lists.values()):
                break
            else:
                self.pass_time(MINUTE)
                self.beat(["last"])
        self.sweep()
        self.check()
        same(self.world.living(), [])
        same(self.world.accepted, len(self.world.recent))
        self.reap("last", None)
        self.pass_time(30 * 24 * 60 * MINUTE)
        self.check()
        same(View(self.lab).residue(), [])


def _options(message: Message) -> str:
    return options(
        delay_ms=message.delay_ms,
        eta_ms=message.eta_ms,
        expires_in_ms=message.expires_in_ms,
        expires_ms=message.expires_ms,
        front=message.front,
        own_id=message.own_id,
        key=message.key,
        keep_ms=message.keep_ms if message.key else None,
    )


def _answer(stored: Stored) -> int | str | tuple[int, int]:
    if stored.full is not None:
        return stored.full.ready, stored.full.most
    return -1 if stored.too_late else 1 if stored.created else stored.id


def _letter(end: object) -> str:
    assert isinstance(end, Record)
    return end.state.name[0]


def _differences(world: World, view: View) -> list[str]:
    """Say of each key where the server does not hold what the model expects."""
    expected = world.expected()
    found = {tail: _as_expected(tail, view) for tail in view.values if not tail.startswith(("meta", "wake:"))}
    told: list[str] = []
    for tail in sorted(expected.keys() | found.keys()):
        value, until = expected.get(tail, (None, None))
        if found.get(tail) != value:
            told.append(f"{tail}: there is {found.get(tail)}, where the model has {value}")
            continue
        ttl = view.ttls[tail]
        left = -1 if until is None else until - world.minutes
        # Of the server's own time a little has passed meanwhile.
        if (ttl == -1) != (left == -1) or not -MINUTE // 2 < ttl - left < MINUTE // 2:
            told.append(f"{tail}: goes in {ttl} ms, where the model has {left}")
    return told


def _as_expected(tail: str, view: View) -> object:
    value = view.values[tail]
    if tail.startswith("t:"):
        record = view.records[tail[2:]]
        if record.state.ended:
            return (view.letter(tail[2:]), record.g, record.owner, record.ending.decode())
        where, counts = f"{record.queue}:{record.priority}", (record.failures, record.crashes)
        return (view.letter(tail[2:]), record.g, record.owner, where, *counts, frozenset(record.flags))
    if tail == "recent":
        return Counter(line.rpartition(" ")[0] for entry in value for line in entry["d"].split("\n"))
    if tail == "quarantine":
        return [(entry["reason"], entry["id"]) for entry in value]
    if tail.startswith("inbox:"):
        return [word.partition(" ")[0] for word in value]
    return value
