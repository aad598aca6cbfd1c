"""Records that nothing points to any more: no process holds them, no agenda or set has them.

A record and what points to it are written by one script, so that between two reads of the same bytes nothing
can have pointed to it if nothing did in the middle: what is found here is no task on its way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from taskq.broker.command import Command, Steps
from taskq.broker.commands import working
from taskq.broker.commands.reading import read
from taskq.broker.keys import Keys
from taskq.errors import BadMessage
from taskq.inspector.scan import Budget, records_of, tails_page, tolerant
from taskq.names import is_id
from taskq.record import Record, State, parse_record

_AT_ONCE = 500
Pointers = list[bytes | int | None]


class Orphans(msgspec.Struct, frozen=True):
    """What a walk over the records of a shard found. `partial`: its time was over before its end."""

    ids: list[str]
    looked: int
    partial: bool


def find_orphans(keys: Keys, budget: Budget) -> Steps[Orphans]:
    """Walk over the records of a shard, while there is time."""
    ids: list[str] = []
    cursor = "0"
    while True:
        page, cursor = yield from tails_page(keys, "t:", "string", cursor)
        good = [name for name in page if is_id(name)]
        for start in range(0, len(good), _AT_ONCE):
            ids += yield from _among(keys, good[start : start + _AT_ONCE])
        budget.saw(len(page), 0)
        if cursor == "0" or budget.late:
            return Orphans(ids, budget.looked, partial=cursor != "0")


def mend(keys: Keys, ids: Sequence[str]) -> Steps[int]:
    """Let the server mend these records; gives how many it mended."""
    mended = 0
    for start in range(0, len(ids), _AT_ONCE):
        mended += yield working.reconcile(keys, ids[start : start + _AT_ONCE])
    return mended


def _among(keys: Keys, ids: Sequence[str]) -> Steps[list[str]]:
    before = yield from records_of(keys, ids)
    groups: dict[tuple[State, str], list[str]] = defaultdict(list)
    for task_id, data in before.items():
        if (record := _parsed(data)) is not None:
            groups[record.state, record.owner].append(task_id)
    suspects: list[str] = []
    for (state, owner), members in groups.items():
        command = _pointers(keys, state, owner, members)
        if command is not None:
            nothing: Pointers = [None] * len(members)
            pointers = yield from tolerant(command, nothing)
            suspects += [one for one, pointer in zip(members, pointers, strict=True) if not pointer]
    after: Mapping[str, bytes | None] = (yield from records_of(keys, suspects)) if suspects else {}
    return [one for one in suspects if after[one] == before[one]]


def _parsed(data: bytes | None) -> Record | None:
    try:
        return parse_record(data or b"")
    except BadMessage:
        return None  # a claim that meets it puts it in quarantine


def _pointers(keys: Keys, state: State, owner: str, ids: Sequence[str]) -> Command[Pointers] | None:
    """How to read what points to each of these records; None for a state that needs no such thing."""
    if state is State.RUNNING:
        return read(keys, "HMGET", keys.held(owner), *ids)
    if state is State.SCHEDULED:
        return read(keys, "ZMSCORE", keys.agenda, *(f"t:{one}" for one in ids))
    if state is State.PARKED:
        return read(keys, "SMISMEMBER", keys.parked(owner), *ids)
    return None
