"""Tasks by state: read from where they stand, within a budget. There is no index of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from taskq.broker.command import Steps, text
from taskq.broker.commands.reading import read
from taskq.broker.keys import PRIORITIES, Keys
from taskq.errors import BadMessage, ConfigurationError
from taskq.frame import NO_KEYS, FrameCodec
from taskq.inspector.places import Agenda, DeadLetters, Held, Parked, Place, ReadyList, Recent, Sighting
from taskq.inspector.scan import Budget, hash_pairs, pairs_of, tails, tolerant
from taskq.message import Message, decode_message, message_signature
from taskq.names import is_name
from taskq.record import Outcome, Record, RemoteError, State, parse_record

STATES = (
    State.RUNNING,
    State.QUEUED,
    State.SCHEDULED,
    State.PARKED,
    State.FAILED,
    State.SUCCEEDED,
    State.CANCELLED,
    State.EXPIRED,
)
"""The states that can be listed, in the order in which a listing of all has them."""

_FORGOTTEN = frozenset({State.SUCCEEDED, State.CANCELLED, State.EXPIRED})
UNREADABLE = "unreadable"
_LONGEST_ID = 200
_LONGEST_ERROR = 300


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One task of a listing. Instants are Redis time; what is not known, or does not apply, is None.

    `state` is `unreadable` where record or message are no bytes of ours. `attempt` counts from 1.
    `signature` is that of the message: `valid`, `invalid`, `missing`, `unknown key`, `not checked` for want of keys.
    """

    id: str
    state: str
    task: str | None = None
    queue: str | None = None
    priority: int | None = None
    attempt: int | None = None
    tags: list[str] = []
    created_ms: int | None = None
    due_ms: int | None = None
    process: str | None = None
    ended_ms: int | None = None
    took_ms: int | None = None
    error: str | None = None
    signature: str | None = None


class Listing(msgspec.Struct, frozen=True):
    """What a listing found. `looked` is how many entries were looked at to find it.

    `partial`: the look ended at its bound, before all was looked at. `more`: a state has more than was asked.
    """

    tasks: list[Row]
    looked: int
    partial: bool
    more: bool


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks are meant; an empty text means any."""

    queue: str = ""
    task: str = ""
    tag: str = ""

    def accepts(self, row: Row) -> bool:
        return (
            (not self.queue or row.queue == self.queue)
            and (not self.task or row.task == self.task)
            and (not self.tag or self.tag in row.tags)
        )


def tasks(
    shards: Sequence[Keys],
    states: Sequence[State] = (),
    wanted: Filter = Filter(),
    limit: int = 50,
    budget: Budget | None = None,
    frames: FrameCodec = NO_KEYS,
) -> Steps[Listing]:
    """List at most `limit` tasks of each of `states`, of all that can be listed if none is named.

    `frames` has the keys that signatures are checked with.

    Raises:
        ConfigurationError: the filter asks what is not known of tasks that ended.
    """
    budget = budget or Budget()
    wanted_states = states or [state for state in STATES if not _unknown(state, wanted)]
    if blind := [state for state in wanted_states if _unknown(state, wanted)]:
        raise ConfigurationError(
            f"of {blind[0].value} tasks neither queue nor tag is kept: drop the filter, or name other states"
        )
    rows: list[Row] = []
    looked, partial, more = 0, False, False
    for place, state in enumerate(wanted_states):
        search = _Search(wanted, limit, budget.share(len(wanted_states) - place), frames)
        yield from search.look(shards, state)
        rows += search.rows
        looked += search.budget.looked
        budget.saw(search.budget.looked, 0)
        partial = partial or search.partial
        more = more or search.more
    return Listing(rows, looked, partial, more)


def _unknown(state: State, wanted: Filter) -> bool:
    return state in _FORGOTTEN and bool(wanted.queue or wanted.tag)


class _Search:
    """The look for tasks of one state."""

    def __init__(self, wanted: Filter, limit: int, budget: Budget, frames: FrameCodec) -> None:
        self.rows: list[Row] = []
        self.partial = False
        self.more = False
        self.budget = budget
        self._wanted, self._limit, self._frames = wanted, limit, frames
        self._seen: set[str] = set()

    def look(self, shards: Sequence[Keys], state: State) -> Steps[None]:
        for keys in shards:
            places = yield from places_of(keys, state, self._wanted, self.budget)
            self.partial = self.budget.late
            for place in places:
                yield from self._look_in(place)
                if self.more or self.partial:
                    return

    def _look_in(self, place: Place) -> Steps[None]:
        while True:
            if self.budget.spent:
                self.partial = True
                return
            sightings = yield from place.page(self.budget)
            if sightings is None:
                return
            rows = yield from self._read(place.keys, sightings)
            for row in rows:
                if row.id in self._seen or not self._wanted.accepts(row):
                    continue
                if len(self.rows) == self._limit:
                    self.more = True
                    return
                self._seen.add(row.id)
                self.rows.append(row)

    def _read(self, keys: Keys, sightings: list[Sighting]) -> Steps[Iterator[Row]]:
        if sightings and sightings[0].state in _FORGOTTEN:
            self.budget.saw(len(sightings), 0)
            return map(_bare, sightings)
        known = yield from pairs_of(keys, [sighting.id for sighting in sightings])
        size = sum(len(record or b"") + len(message or b"") for record, message in known.values())
        self.budget.saw(len(sightings), size)
        rows = (row_of(one, *known.get(one.id, (b"", b"")), self._frames) for one in sightings)
        return (row for row in rows if row is not None)


def places_of(keys: Keys, state: State, wanted: Filter, budget: Budget) -> Steps[list[Place]]:
    """Give the places where tasks of one state stand, those alone that the filter leaves."""
    if state is State.SCHEDULED:
        return [Agenda(keys)]
    if state in _FORGOTTEN:
        return [Recent(keys, frozenset({state}))]
    if state is State.RUNNING:
        names = yield from known_processes(keys, budget)
        return [Held(keys, name) for name in names]
    if state is State.PARKED:
        waiting = [wanted.task] if wanted.task else (yield from tails(keys, "parked:", "set", budget))
        return [Parked(keys, task) for task in waiting]
    queues = [wanted.queue] if wanted.queue else (yield from queue_names(keys, budget))
    if state is State.FAILED:
        return [DeadLetters(keys, queue) for queue in queues]
    return [ReadyList(keys, queue, priority) for queue in queues for priority in PRIORITIES]


def known_processes(keys: Keys, budget: Budget) -> Steps[list[str]]:
    """Give the processes that have a lease, or are remembered by their beats."""
    leased = yield from tolerant(read(keys, "ZRANGE", keys.processes, 0, 9_999), [])
    beaten = yield from hash_pairs(keys, keys.beats, budget)
    return sorted({text(name) for name in leased} | {text(name) for name, _ in beaten})


def queue_names(keys: Keys, budget: Budget) -> Steps[list[str]]:
    """Give the queues of a shard by name; what can be no queue's name is left out."""
    pairs = yield from hash_pairs(keys, keys.queues, budget)
    return sorted(name for name in (text(field) for field, _ in pairs) if is_name(name))


def row_of(
    sighting: Sighting,
    record_bytes: bytes | None,
    message_bytes: bytes | None,
    frames: FrameCodec = NO_KEYS,
) -> Row | None:
    """Make a row of what was found at an id; None if the task has moved on since and stands elsewhere."""
    if record_bytes is None and message_bytes is None:
        return _unreadable(sighting) if sighting.state is State.QUEUED else None
    try:
        record = Record(State.QUEUED, 0, "") if record_bytes is None else parse_record(record_bytes)
        if record.state is not sighting.state:
            return None
        message, outcome = decode_message(message_bytes or b""), record.outcome
    except BadMessage:
        return _unreadable(sighting)
    signature = message_signature(
        message_bytes or b"", sighting.id, sighting.queue or record.queue or None, frames
    )
    return _row(sighting, record, message, outcome, signature)


def _row(
    sighting: Sighting, record: Record, message: Message, outcome: Outcome | None, signature: str | None
) -> Row:
    return Row(
        id=sighting.id,
        state=record.state.value,
        task=message.task,
        queue=sighting.queue or record.queue or message.queue,
        priority=_first(sighting.priority, record.priority if record.queue else message.priority),
        attempt=outcome.attempt if outcome else record.failures + record.crashes + 1,
        tags=message.tags or [],
        created_ms=message.created_ms or None,
        due_ms=sighting.due_ms,
        process=sighting.process or None,
        ended_ms=sighting.ended_ms,
        took_ms=took_ms(outcome) if outcome else None,
        error=_summary(outcome.error) if outcome and outcome.error else None,
        signature=signature,
    )


def _summary(error: RemoteError) -> str:
    return f"{error.type}: {error.message}"[:_LONGEST_ERROR]


def took_ms(outcome: Outcome) -> int | None:
    """How long the last run took, where the outcome says so."""
    return round(outcome.took_ms) if math.isfinite(outcome.took_ms) else None


def _bare(sighting: Sighting) -> Row:
    return Row(
        id=sighting.id,
        state=sighting.state.value,
        task=sighting.task or None,
        ended_ms=sighting.ended_ms,
        took_ms=sighting.took_ms,
    )


def _unreadable(sighting: Sighting) -> Row:
    return Row(
        id=sighting.id[:_LONGEST_ID],
        state=UNREADABLE,
        task=sighting.task or None,
        queue=sighting.queue or None,
        priority=sighting.priority,
        due_ms=sighting.due_ms,
        process=sighting.process or None,
        ended_ms=sighting.ended_ms,
    )


def _first(one: int | None, other: int) -> int:
    return other if one is None else one
