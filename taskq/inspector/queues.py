"""Every queue of a namespace: what waits in it, what runs, and who serves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from taskq.broker.command import Steps, text
from taskq.broker.commands.operating import QueueEntry, parse_entry
from taskq.broker.commands.reading import read
from taskq.broker.keys import PRIORITIES, Keys
from taskq.errors import BadMessage
from taskq.inspector.listing import Filter, places_of
from taskq.inspector.scan import Budget, hash_pairs, pairs_of, records_of, redis_now_ms, tolerant
from taskq.message import decode_message
from taskq.names import is_name
from taskq.record import State, parse_record

_COUNTED = (State.RUNNING, State.SCHEDULED, State.PARKED)


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. `by_priority` has the ready tasks of each priority that has any.

    `oldest_ms` is how long ago the oldest of the tasks that are next in their priorities was enqueued, None
    when nothing is ready. `processes` is how many worker processes serve the queue. With `max_length`, no new task is
    accepted while so many are ready.
    """

    name: str
    paused: bool
    ready: int
    by_priority: dict[str, int]
    running: int
    scheduled: int
    parked: int
    dead: int
    oldest_ms: int | None
    processes: int
    max_length: int | None

    @property
    def full(self) -> bool:
        """True while new tasks are refused."""
        return self.max_length is not None and self.ready >= self.max_length


class Queues(msgspec.Struct, frozen=True):
    """All queues. `partial`: there are more queues, or tasks, than were looked at within the bound."""

    queues: list[Queue]
    partial: bool


def queues(shards: Sequence[Keys], budget: Budget | None = None) -> Steps[Queues]:
    """Look at every queue. What stands in no list of a queue is counted by its records, within the budget."""
    budget = budget or Budget()
    found: dict[str, Queue] = {}
    counts: Counter[tuple[str, State]] = Counter()
    partial = False
    for keys in shards:
        now_ms = yield from redis_now_ms(keys)
        for field, value in (yield from hash_pairs(keys, keys.queues, Budget())):
            name = text(field)
            if budget.late:
                partial = True
            elif is_name(name):
                here = yield from _queue(keys, name, parse_entry(value), now_ms)
                found[name] = _merged(found[name], here) if name in found else here
        for place, state in enumerate(_COUNTED):
            share = budget.share(len(_COUNTED) - place)
            partial = (yield from _count(keys, state, counts, share)) or partial
            budget.saw(share.looked, 0)
    rows = [
        msgspec.structs.replace(
            queue,
            running=counts[name, State.RUNNING],
            scheduled=counts[name, State.SCHEDULED],
            parked=counts[name, State.PARKED],
        )
        for name, queue in sorted(found.items())
    ]
    return Queues(rows, partial)


def _queue(keys: Keys, name: str, entry: QueueEntry, now_ms: int) -> Steps[Queue]:
    by_priority: dict[str, int] = {}
    heads: list[str] = []
    lists = keys.lists(name)
    if (yield read(keys, "EXISTS", *lists)):
        for priority, ready in zip(PRIORITIES, lists, strict=True):
            if length := (yield from tolerant(read(keys, "LLEN", ready), 0)):
                by_priority[str(priority)] = int(length)
                heads.append(text((yield read(keys, "LINDEX", ready, 0)) or b""))
    return Queue(
        name=name,
        paused=entry.paused,
        ready=sum(by_priority.values()),
        by_priority=by_priority,
        running=0,
        scheduled=0,
        parked=0,
        dead=int((yield from tolerant(read(keys, "ZCARD", keys.dead(name)), 0))),
        oldest_ms=(yield from _oldest(keys, heads, now_ms)),
        processes=int((yield from tolerant(read(keys, "SCARD", keys.serves(name)), 0))),
        max_length=entry.most,
    )


def _oldest(keys: Keys, ids: Sequence[str], now_ms: int) -> Steps[int | None]:
    ages: list[int] = []
    for _, message in (yield from pairs_of(keys, ids)).values():
        try:
            ages.append(max(0, now_ms - decode_message(message or b"").created_ms))
        except BadMessage:
            continue
    return max(ages, default=None)


def _count(keys: Keys, state: State, counts: Counter[tuple[str, State]], budget: Budget) -> Steps[bool]:
    """Count the tasks of one state by queue; True if the budget ended before they did."""
    for place in (yield from places_of(keys, state, Filter(), budget)):
        while True:
            if budget.spent:
                return True
            sightings = yield from place.page(budget)
            if sightings is None:
                break
            records = yield from records_of(keys, [sighting.id for sighting in sightings])
            budget.saw(len(sightings), sum(len(record or b"") for record in records.values()))
            for record in records.values():
                try:
                    parsed = parse_record(record or b"")
                except BadMessage:
                    continue
                if parsed.state is state:
                    counts[parsed.queue, state] += 1
    return budget.late


def _merged(one: Queue, other: Queue) -> Queue:
    both = Counter(one.by_priority) + Counter(other.by_priority)
    return msgspec.structs.replace(
        one,
        paused=one.paused or other.paused,
        ready=one.ready + other.ready,
        by_priority=dict(sorted(both.items(), reverse=True)),
        dead=one.dead + other.dead,
        oldest_ms=max((age for age in (one.oldest_ms, other.oldest_ms) if age is not None), default=None),
        processes=max(one.processes, other.processes),
        max_length=_sum(one.max_length, other.max_length),
    )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other  # each shard bounds its own
