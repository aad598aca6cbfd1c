"""The machine: sends commands in any order to a real server and to the model, and compares all after each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from taskq.broker.commands.working import Kind
from tests.chaos.model.both import Both, Given
from tests.chaos.model.setting import START_MS
from tests.chaos.model.things import MINUTE, Message, Settled, Task
from tests.engine import Lab

T = TypeVar("T")

TTLS_MS = (2 * MINUTE, 30 * MINUTE)
SERVED = (("a", "b"), ("a",), ("b", "a"))
MANY = 1_000
CLIENTS = ("c1", "c2")
TASKS = ("known", "unknown")

ids = st.sampled_from([f"i{n}" for n in range(10)])
lists = st.sampled_from(["a:5", "a:9", "b:5"])
queues = st.sampled_from(["a", "b"])
ttls = st.sampled_from(TTLS_MS)
outcomes = st.sampled_from([*Kind, Kind.FAILED, Kind.RELEASED, Kind.SUSPECT])
mostly = st.sampled_from([True, True, True, False])
which = st.integers(0, 5)
"""The how-manieth, from the end: hypothesis makes it small, and so the last one."""
far = st.integers(0, 20)

plain = st.builds(Message, id=ids, list=lists, front=st.booleans(), own_id=st.booleans())
special = st.builds(
    Message,
    id=ids,
    list=lists,
    delay_ms=st.sampled_from([None, None, 1, MINUTE, 3 * MINUTE]),
    eta_ms=st.sampled_from([None, START_MS, START_MS + 2 * MINUTE]),
    expires_in_ms=st.sampled_from([None, None, 0, MINUTE, 4 * MINUTE]),
    expires_ms=st.sampled_from([None, START_MS + MINUTE, START_MS + 20 * MINUTE]),
    front=st.booleans(),
    own_id=st.booleans(),
    key=st.sampled_from(["", "job:k1", "job:k2"]),
    keep_ms=st.sampled_from([None, None, 2 * MINUTE]),
)


def pick(some: Sequence[T], n: int) -> T:
    """The n-th of `some` from its end."""
    return some[-1 - n % len(some)]


class Machine(RuleBasedStateMachine):
    """Begins on an empty server with two processes and some work."""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self.both = Both(lab)
        self.world, self.given = self.both.world, self.both.given
        self.history: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.names: list[str] = []
        self.seqs: Counter[str] = Counter()
        self.serving: dict[str, tuple[str, ...]] = {}
        self.outcomes = 0
        self.failed = False

    def do(self, step: Callable[..., None], *args: Any) -> None:
        """Take a step and look at everything; it may come again later, as what was sent over a lost connection."""
        self.history.append((step, args))
        self.take(step, *args)

    def take(self, step: Callable[..., None], *args: Any) -> None:
        """As `do`, of what does not come again."""
        self.failed = True
        step(*args)
        self.both.check()
        self.failed = False

    def keyed(self) -> list[Task]:
        """The tasks that have, or had, a unique key."""
        return [task for task in self.world.tasks.values() if task.key]

    def alive(self) -> list[str]:
        """The processes that are registered."""
        return [name for name in self.names if self.world.process(name).lease is not None]

    def process(self, n: int) -> str:
        """The n-th process, those that live first."""
        alive = self.alive()
        return pick([*(name for name in self.names if name not in alive), *alive], n)

    def held(self) -> list[Given]:
        """What processes hold."""
        return [task for name in self.names for task in self._held(name)]

    def held_anew(self) -> list[Given]:
        """What was given before, and is held now after another claim."""
        now = {task.id: task.g for task in self.held()}
        return [task for task in self.given if now.get(task.id, task.g) != task.g]

    def held_one(self, n: int) -> list[Given]:
        """The n-th that is held, after a claim if there is none: so most steps have something to work on."""
        if not self.held() and self.alive():
            self.claim(n, 2)
        return [pick(self.held(), n)] if self.held() else []

    def dead_one(self, n: int) -> list[tuple[str, str]]:
        """(queue, id) of the n-th dead letter, after a failure if there is none."""
        if not any(self.world.dead.values()):
            for task in self.held_one(n):
                self.do(self.both.settle, task.process, [self._outcome(task, Kind.FAILED, False, TTLS_MS[1])])
        dead = [(queue, id) for queue, ids in self.world.dead.items() for id in ids]
        return [pick(dead, n)] if dead else []

    # -- rules: what programs do

    @initialize()
    def two_processes(self) -> None:
        self.begin_process(0)
        self.begin_process(1)
        self.enqueue(6, "a:5", False)

    @rule(n=st.integers(1, 6), where=lists, front=st.booleans())
    def enqueue(self, n: int, where: str, front: bool) -> None:
        self.do(
            self.both.enqueue,
            0,
            [Message(f"n{self.world.accepted + at}", where, front=front) for at in range(n)],
        )

    @rule(messages=st.lists(st.one_of(plain, special), min_size=1, max_size=5))
    def enqueue_all_kinds(self, messages: list[Message]) -> None:
        self.do(self.both.enqueue, 0, messages)

    @rule(message=special, late_ms=st.sampled_from([-1, 0, MINUTE]))
    def enqueue_with_a_limit(self, message: Message, late_ms: int) -> None:
        self.do(self.both.enqueue, self.world.now + late_ms, [message])

    @precondition(lambda self: self.keyed())
    @rule(id=ids, n=which)
    def enqueue_with_a_key_that_was_used(self, id: str, n: int) -> None:
        self.do(self.both.enqueue, 0, [Message(id, "a:5", own_id=True, key=pick(self.keyed(), n).key)])

    @precondition(lambda self: self.world.tasks)
    @rule(n=which, ttl=ttls, alive=mostly)
    def cancel(self, n: int, ttl: int, alive: bool) -> None:
        some = [task.id for task in self.world.living()] if alive else []
        self.do(self.both.cancel, pick(some or [*self.world.tasks], n), ttl)

    @rule(n=which, ttl=ttls)
    def cancel_what_runs(self, n: int, ttl: int) -> None:
        for task in self.held_one(n):
            self.do(self.both.cancel, task.id, ttl)

    @rule(client=st.sampled_from(CLIENTS), some=st.lists(which, min_size=1, max_size=4))
    def wait(self, client: str, some: list[int]) -> None:
        known = [*self.world.tasks, "i0"]
        self.do(self.both.wait, client, [*dict.fromkeys(pick(known, n) for n in some)])

    # -- rules: what workers do

    @precondition(lambda self: len(self.alive()) < 3)
    @rule(n=st.integers(0, len(SERVED) - 1))
    def begin_process(self, n: int) -> None:
        name = f"p{len(self.names)}"
        self.names.append(name)
        self.serving[name] = SERVED[n]
        self.do(self.both.hello, name, SERVED[n])

    @rule(n=which, limit=st.sampled_from([0, 1, 2, 5]))
    def claim(self, n: int, limit: int) -> None:
        name = self.process(n)
        self.seqs[name] += 1
        self.do(self.both.claim, name, self.seqs[name], limit, self.serving[name])

    @rule(n=which, some=st.lists(st.tuples(which, outcomes, st.booleans()), min_size=1, max_size=5), ms=ttls)
    def claim_and_settle(self, n: int, some: list[tuple[int, Kind, bool]], ms: int) -> None:
        name = self.process(n)
        self.seqs[name] += 1
        self.do(self.both.claim, name, self.seqs[name], len(some), self.serving[name])
        self._settle_some(name, some, ms)

    @rule(n=which, limit=st.sampled_from([0, 1, 2]), until_empty=st.booleans())
    def take_tokens_and_claim(self, n: int, limit: int, until_empty: bool) -> None:
        name = self.process(n)
        self.both.take_tokens(name, self.serving[name][0])
        self.claim(n, limit)
        while (
            until_empty
            and self.world.ready(self.serving[name][0])
            and not self.world.claim_refused(name, MANY)
        ):
            self.claim(n, 5)

    @precondition(lambda self: self.given)
    @rule(n=which, limit=st.integers(1, 5), back=st.integers(0, 1))
    def claim_again(self, n: int, limit: int, back: int) -> None:
        name = self.process(n)
        seq = max(1, self.seqs[name] - back)
        self.seqs[name] = max(self.seqs[name], seq)
        self.do(self.both.claim, name, seq, limit, self.serving[name])

    @rule(n=which, some=st.lists(st.tuples(which, outcomes, st.booleans()), min_size=1, max_size=5), ms=ttls)
    def settle(self, n: int, some: list[tuple[int, Kind, bool]], ms: int) -> None:
        for task in self.held_one(n):
            self._settle_some(task.process, some, ms)

    @precondition(lambda self: self.given)
    @rule(n=which, at=far, kind=outcomes, as_itself=mostly, anew=st.booleans())
    def settle_what_it_may_have_lost(self, n: int, at: int, kind: Kind, as_itself: bool, anew: bool) -> None:
        task = pick((self.held_anew() if anew else None) or self.given, at)
        by = task.process if as_itself else self.process(n)
        self.do(self.both.settle, by, [self._outcome(task, kind, False, TTLS_MS[0])])

    @rule(n=which)
    def start(self, n: int) -> None:
        for task in self.held_one(n):
            self.do(self.both.start, task.process, task.id, task.g)

    @rule(n=which, name=st.sampled_from(TASKS))
    def park(self, n: int, name: str) -> None:
        for task in self.held_one(n):
            self.do(self.both.park, task.process, task.id, task.g, name)

    @precondition(lambda self: self.given)
    @rule(at=far, n=which, as_itself=mostly, anew=st.booleans(), name=st.sampled_from(TASKS))
    def start_or_park_what_it_may_have_lost(
        self, at: int, n: int, as_itself: bool, anew: bool, name: str
    ) -> None:
        task = pick((self.held_anew() if anew else None) or self.given, at)
        by = task.process if as_itself else self.process(n)
        self.do(self.both.start, by, task.id, task.g)
        self.do(self.both.park, by, task.id, task.g, name)

    @rule(n=which, name=st.sampled_from(TASKS), queue=queues)
    def register(self, n: int, name: str, queue: str) -> None:
        self.do(self.both.register, self.process(n), name, queue)

    @rule(some=st.lists(which, min_size=1, max_size=4))
    def beat(self, some: list[int]) -> None:
        self.do(self.both.beat, [*dict.fromkeys(self.process(n) for n in some)])

    @rule(n=which, how=st.sampled_from(["gone", "still", "beaten", "beaten"]))
    def reap(self, n: int, how: str) -> None:
        name = self.process(n)
        beats = self.world.process(name).beats or 0
        self.do(self.both.reap, name, {"gone": None, "still": beats, "beaten": beats + 1}[how])

    # -- rules: what people do, time, and what is late

    @rule(queue=queues, paused=st.booleans())
    def pause_or_resume(self, queue: str, paused: bool) -> None:
        self.do(self.both.pause if paused else self.both.resume, queue)

    @rule(queue=queues, by=st.sampled_from(["declared", "set"]), most=st.sampled_from([None, 0, 2, 8]))
    def bound(self, queue: str, by: Literal["declared", "set"], most: int | None) -> None:
        self.do(self.both.bound, queue, by, most)

    @precondition(lambda self: any(self.world.lists.values()))
    @rule(where=lists, ttl=ttls)
    def purge(self, where: str, ttl: int) -> None:
        self.do(self.both.purge, where, ttl)

    @rule(n=which, new=ids, where=lists, ttl=ttls)
    def requeue(self, n: int, new: str, where: str, ttl: int) -> None:
        for queue, old in self.dead_one(n):
            self.do(self.both.requeue, old, queue, ttl, new, where)

    @rule(n=which, by_id=st.booleans())
    def discard(self, n: int, by_id: bool) -> None:
        for queue, id in self.dead_one(n):
            self.do(self.both.discard, queue, [id] if by_id else [])

    @rule()
    def sweep(self) -> None:
        """There is nothing to mend where nobody else has written."""
        self.do(self.both.sweep)

    @rule(ms=st.sampled_from([1, MINUTE, MINUTE, 3 * MINUTE, 11 * MINUTE]))
    def pass_time(self, ms: int) -> None:
        self.take(self.both.pass_time, ms)

    @rule(n=st.integers(0, 7))
    def repeat(self, n: int) -> None:
        """What was sent over a connection that is lost comes again, now or after much else."""
        step, args = pick(self.history, n)
        self.take(step, *args)

    @rule(scripts=st.booleans())
    def disturb(self, scripts: bool) -> None:
        """The server forgets its scripts, or its connections."""
        self.take(self.both.lose_scripts if scripts else self.both.lose_connections)

    def teardown(self) -> None:
        if self.names and not self.failed:
            self.both.wind_up()

    # -- small words

    def _held(self, name: str) -> list[Given]:
        return [Given(name, id, hold.g) for id, hold in self.world.holds_of(name).items()]

    def _settle_some(self, name: str, some: Sequence[tuple[int, Kind, bool]], ms: int) -> None:
        held = self._held(name)
        if held:
            self.do(
                self.both.settle,
                name,
                [self._outcome(pick(held, n), kind, keep, ms) for n, kind, keep in some],
            )

    def _outcome(self, task: Given, kind: Kind, keep: bool, ms: int) -> Settled:
        self.outcomes += 1
        return Settled(task.id, task.g, kind, keep, ms, f"outcome {self.outcomes}")
