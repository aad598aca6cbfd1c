"""Where tasks stand: each place gives the ids in it page by page, with what it says of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from taskq.broker.command import Steps, text
from taskq.broker.commands import working
from taskq.broker.commands.reading import read
from taskq.broker.keys import Keys
from taskq.inspector.scan import Budget, tolerant
from taskq.record import State

_RECENT = {"S": State.SUCCEEDED, "F": State.FAILED, "C": State.CANCELLED, "E": State.EXPIRED}
_PAGE_OF_RECENT = 20  # entries, of up to 256 lines each


@dataclass(slots=True)
class Sighting:
    """An id as it stood in a place. What a place does not say keeps its default; instants are Redis time."""

    id: str
    state: State
    queue: str = ""
    priority: int | None = None
    process: str = ""
    task: str = ""
    due_ms: int | None = None
    ended_ms: int | None = None
    took_ms: int | None = None


class Place(Protocol):
    """Something that holds ids of one shard."""

    keys: Keys

    def page(self, budget: Budget) -> Steps[list[Sighting] | None]:
        """Give the next ids, maybe none of this page; None when there are no more."""
        ...


class ReadyList:
    """The ids of one priority of a queue, the next one first."""

    def __init__(self, keys: Keys, queue: str, priority: int) -> None:
        self.keys, self._queue, self._priority = keys, queue, priority
        self._offset = 0

    def page(self, budget: Budget) -> Steps[list[Sighting] | None]:
        last = self._offset + budget.page - 1
        command = read(self.keys, "LRANGE", self.keys.ready(self._queue, self._priority), self._offset, last)
        ids = yield from tolerant(command, [])
        self._offset += len(ids)
        if not ids:
            return None
        return [Sighting(text(one), State.QUEUED, self._queue, self._priority) for one in ids]


class Agenda:
    """Scheduled tasks, the one that is due next first."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._offset = 0

    def page(self, budget: Budget) -> Steps[list[Sighting] | None]:
        last = self._offset + budget.page - 1
        command = read(self.keys, "ZRANGE", self.keys.agenda, self._offset, last, "WITHSCORES")
        flat = yield from tolerant(command, [])
        self._offset += len(flat) // 2
        if not flat:
            return None
        entries = list(zip(map(text, flat[::2]), flat[1::2], strict=True))
        found = [
            Sighting(entry[2:], State.SCHEDULED, due_ms=score_ms(score))
            for entry, score in entries
            if entry.startswith("t:")
        ]
        budget.saw(len(entries) - len(found), 0)  # the expiries, which only look like tasks
        return found


class Held:
    """What one process holds, in the order in which it claimed it."""

    def __init__(self, keys: Keys, process: str) -> None:
        self.keys, self._process = keys, process
        self._ids: Iterator[str] | None = None

    def page(self, budget: Budget) -> Steps[list[Sighting] | None]:
        if self._ids is None:
            holds = yield from tolerant(working.holds(self.keys, self._process), {})
            self._ids = iter(sorted(holds, key=lambda one: (holds[one].seq, holds[one].index)))
        ids = list(islice(self._ids, budget.page))
        if not ids:
            return None
        return [Sighting(one, State.RUNNING, process=self._process) for one in ids]


class Parked:
    """What waits for a worker that knows its task, in no order."""

    def __init__(self, keys: Keys, task: str) -> None:
        self.keys, self._task = keys, task
        self._cursor = ""

    def page(self, budget: Budget) -> Steps[list[Sighting] | None]:
        if self._cursor == "0":
            return None
        command = read(
            self.keys, "SSCAN", self.keys.parked(self._task), self._cursor or "0", "COUNT", budget.page
        )
        cursor, ids = yield from tolerant(command, [b"0", []])
        self._cursor = text(cursor)
        return [Sighting(text(one), State.PARKED, task=self._task) for one in ids]


class DeadLetters:
    """The dead letters of a queue, the one that failed last first."""

    def __init__(self, keys: Keys, queue: str) -> None:
        self.keys, self._queue = keys, queue
        self._offset = 0

    def page(self, budget: Budget) -> Steps[list[Sighting] | None]:
        last = self._offset + budget.page - 1
        command = read(
            self.keys, "ZRANGE", self.keys.dead(self._queue), self._offset, last, "REV", "WITHSCORES"
        )
        flat = yield from tolerant(command, [])
        self._offset += len(flat) // 2
        if not flat:
            return None
        return [
            Sighting(text(one), State.FAILED, self._queue, ended_ms=score_ms(score))
            for one, score in zip(flat[::2], flat[1::2], strict=True)
        ]


class Recent:
    """What ended lately in one of `states`, the last first. Of each, little more than its id is kept."""

    def __init__(self, keys: Keys, states: frozenset[State]) -> None:
        self.keys, self._states = keys, states
        self._before = "+"

    def page(self, budget: Budget) -> Steps[list[Sighting] | None]:
        command = read(self.keys, "XREVRANGE", self.keys.recent, self._before, "-", "COUNT", _PAGE_OF_RECENT)
        entries = yield from tolerant(command, [])
        if not entries:
            return None
        self._before = "(" + text(entries[-1][0])
        found: list[Sighting] = []
        looked = 0
        for entry, fields in entries:
            ended_ms = int(text(entry).partition("-")[0])
            lines = text(fields[1]).splitlines() if len(fields) == 2 else []
            looked += len(lines)
            for line in reversed(lines):
                sighting = _ended(line, ended_ms)
                if sighting is not None and sighting.state in self._states:
                    found.append(sighting)
        budget.saw(looked - len(found), 0)  # the caller counts what it gets
        return found


def _ended(line: str, ended_ms: int) -> Sighting | None:
    letter, _, rest = line.partition(" ")
    task_id, _, rest = rest.partition(" ")
    task, _, took = rest.rpartition(" ")
    state = _RECENT.get(letter)
    if state is None or not took.isdecimal():
        return None
    known = task if task != "-" else ""
    took_ms = int(took[:15]) if known else None
    return Sighting(task_id, state, task=known, ended_ms=ended_ms, took_ms=took_ms)


def score_ms(score: bytes) -> int | None:
    """Read a sorted set's score as an instant in ms; None where it is none."""
    try:
        return int(float(score))
    except (ValueError, OverflowError):
        return None
