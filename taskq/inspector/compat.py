"""Does what waits fit the code to be deployed? Every message is read as a worker would, and none is run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from taskq.broker.command import Steps, text, work
from taskq.broker.commands.reading import read
from taskq.broker.keys import PRIORITIES, Keys
from taskq.codec.code import PICKLE
from taskq.errors import ArgumentMismatch, BadMessage, BadSignature, PayloadError, PayloadUnavailable
from taskq.frame import FrameCodec, UnknownFrame
from taskq.inspector.listing import known_processes, queue_names
from taskq.inspector.places import Agenda, DeadLetters, Held, Parked, Place, ReadyList, Sighting
from taskq.inspector.processes import processes
from taskq.inspector.scan import Budget, pairs_of, tails, tolerant
from taskq.message import Message, bring_back, open_message
from taskq.payloads import Payloads
from taskq.record import Record, State, parse_record
from taskq.task import Task

_SAMPLES = 3
_MOST_GROUPS = 1_000
_LONGEST = 300
REST = "…"
"""Stands for all tasks and reasons beyond those that are told apart."""


class Misfit(msgspec.Struct, kw_only=True):
    """Messages of one task that do not fit for one reason; `ids` are some of them, `states` says where all stand.

    `task` is None where the message cannot be read.
    """

    task: str | None
    reason: str
    count: int = 0
    ids: list[str] = []
    states: dict[str, int] = {}


class Compat(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at all that waits, runs or is dead has found.

    `others` counts the messages, by task, that are other apps' business. `partial`: the look ended before its end.
    """

    app: str
    checked: int
    unfit: int
    misfits: list[Misfit]
    others: dict[str, int]
    partial: bool

    @property
    def fits(self) -> bool:
        """True if everything was looked at, and all of it fits."""
        return not self.unfit and not self.partial


def compat(
    app: str,
    tasks: Mapping[str, Task[..., Any]],
    frames: FrameCodec,
    payloads: Payloads,
    shards: Sequence[Keys],
    queues: Sequence[str] = (),
    *,
    strict: bool = False,
    seconds: float = 1e9,
) -> Steps[Compat]:
    """Hold every message of `queues`, of all by default, against the tasks of an app, within `seconds`.

    `strict`: what no task of this app is named like counts as unfit, too. While workers and programs are at work,
    what moves may be missed, or be seen twice.
    """
    look = _Look(app, tasks, frames, payloads, queues, strict, Budget(looks=1 << 62, seconds=seconds))
    for keys in shards:
        yield from look.over(keys)
    misfits = sorted(look.misfits.values(), key=lambda one: (one.task or "", -one.count))
    return Compat(
        app=app,
        checked=look.checked,
        unfit=sum(one.count for one in misfits),
        misfits=misfits,
        others=dict(look.others.most_common()),
        partial=look.budget.late,
    )


class _Look:
    """One walk over the places of a namespace. It keeps counts, never messages."""

    def __init__(
        self,
        app: str,
        tasks: Mapping[str, Task[..., Any]],
        frames: FrameCodec,
        payloads: Payloads,
        queues: Sequence[str],
        strict: bool,
        budget: Budget,
    ) -> None:
        self.checked = 0
        self.misfits: dict[tuple[str | None, str], Misfit] = {}
        self.others: Counter[str] = Counter()
        self.budget = budget
        self._app, self._tasks, self._frames, self._payloads = app, tasks, frames, payloads
        self._queues, self._strict = frozenset(queues), strict
        self._beginnings = (f"{app}.", *{name.rpartition(".")[0] + "." for name in tasks if "." in name})
        self._own: dict[str, bool] = {}

    def over(self, keys: Keys) -> Steps[None]:
        living = yield from processes([keys], self.budget)
        own = frozenset(one.id for one in living if one.app == self._app)
        for place in (yield from self._places(keys)):
            while not self.budget.late and (page := (yield from place.page(self.budget))) is not None:
                yield from self._over_page(keys, page, own)

    def _places(self, keys: Keys) -> Steps[list[Place]]:
        # As tasks move: what leaves a place during the look is met in a later one.
        queues = sorted(self._queues) or (yield from queue_names(keys, self.budget))
        names = yield from tails(keys, "parked:", "set", self.budget)
        running = yield from known_processes(keys, self.budget)
        return [
            Agenda(keys),
            *(Parked(keys, name) for name in names),
            *(ReadyList(keys, queue, priority) for queue in queues for priority in PRIORITIES),
            *(Held(keys, name) for name in running),
            *(DeadLetters(keys, queue) for queue in queues),
        ]

    def _over_page(self, keys: Keys, page: Sequence[Sighting], own: Container[str]) -> Steps[None]:
        known = yield from pairs_of(keys, [sighting.id for sighting in page])
        self.budget.saw(len(page), sum(len(message or b"") for _, message in known.values()))
        for sighting in page:
            record, data = known.get(sighting.id, (b"", b""))
            try:
                opened = self._message(sighting, record, data)
            except BadMessage as error:
                self.checked += 1
                self._note(None, _unreadable(error), sighting)
                continue
            if opened is None:
                continue
            self.checked += 1
            message, signed = opened
            task = self._tasks.get(message.task)
            if task is not None:
                if message.payload is None or (yield from self._fetch(task, message, sighting)):
                    self._hold_against(task, message, signed, sighting)
            elif self._strict or (yield from self._is_own(keys, message.task, own)):
                self._note(message.task, "the app has no such task", sighting)
            else:
                self.others[message.task if len(self.others) < _MOST_GROUPS else REST] += 1

    def _message(
        self, sighting: Sighting, record: bytes | None, data: bytes | None
    ) -> tuple[Message, bool] | None:
        """Read what was found at an id, and whether it is signed; None if the task has moved on, or is not looked for.

        Raises:
            BadMessage: it cannot be read.
        """
        if record is None and data is None and sighting.state is not State.QUEUED:
            return None
        found = Record(State.QUEUED, 0, "") if record is None else parse_record(record)
        if found.state is not sighting.state:
            return None
        queue = found.queue or sighting.queue
        if self._queues and queue not in self._queues:
            return None
        return open_message(data or b"", sighting.id, queue or None, self._frames)

    def _fetch(self, task: Task[..., Any], message: Message, sighting: Sighting) -> Steps[bool]:
        """Bring back offloaded arguments; False if they cannot be used, or are gone for the task has ended."""
        try:
            yield work(partial(bring_back, message, sighting.id, self._payloads))
        except PayloadUnavailable:
            raise  # it says nothing of the message
        except PayloadError as error:
            if sighting.state is not State.RUNNING:
                self._note(task.name, f"its payload is lost: {type(error).__name__}", sighting)
            return False
        return True

    def _hold_against(self, task: Task[..., Any], message: Message, signed: bool, sighting: Sighting) -> None:
        if signed and message.args[:1] == PICKLE:
            return  # to look at it would run code
        try:
            task.codec.decode_call(message.args, message.kwargs)
        except (ArgumentMismatch, BadMessage) as error:
            veil = task.codec.veil(message.args, message.kwargs, False, message.secrets)
            self._note(task.name, veil.over(str(error)), sighting)

    def _is_own(self, keys: Keys, name: str, own: Container[str]) -> Steps[bool]:
        """Say whether a task that the code lacks is this app's: by its name, or because its workers know it."""
        if name.startswith(self._beginnings):
            return True
        if name not in self._own:
            if len(self._own) >= _MOST_GROUPS:
                return False
            knowing = yield from tolerant(read(keys, "SMEMBERS", keys.knows(name)), [])
            self._own[name] = any(text(process) in own for process in knowing)
        return self._own[name]

    def _note(self, task: str | None, reason: str, sighting: Sighting) -> None:
        key = (task, reason[:_LONGEST])
        if key not in self.misfits and len(self.misfits) >= _MOST_GROUPS:
            key = (REST, "more tasks and reasons than are told apart")
        misfit = self.misfits.setdefault(key, Misfit(task=key[0], reason=key[1]))
        misfit.count += 1
        state = sighting.state.value
        misfit.states[state] = misfit.states.get(state, 0) + 1
        if len(misfit.ids) < _SAMPLES:
            misfit.ids.append(sighting.id[:_LONGEST])


def _unreadable(error: BadMessage) -> str:
    # Without the bytes, which differ from message to message.
    told = isinstance(error, (UnknownFrame, BadSignature))
    return str(error) if told else "record or message cannot be read"
