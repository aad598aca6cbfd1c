"""Dead letters: tasks that failed for good, kept with their messages until someone decides."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from taskq.broker.command import Command, Steps, work
from taskq.broker.commands import operating
from taskq.broker.commands.producing import BATCH
from taskq.broker.commands.reading import lookup, read
from taskq.broker.keys import Keys
from taskq.broker.storing import unknown_enqueue
from taskq.errors import (
    BadMessage,
    BadSignature,
    BrokerUnavailable,
    PayloadError,
    PayloadUnavailable,
    TaskNotFound,
)
from taskq.frame import NO_KEYS, FrameCodec
from taskq.inspector.listing import Filter, queue_names, row_of
from taskq.inspector.places import DeadLetters
from taskq.inspector.scan import Budget, pairs_of, redis_now_ms, tolerant
from taskq.message import Message, bring_back, open_message, seal_message, set_aside
from taskq.names import check_id, new_task_id
from taskq.payloads import NO_STORE, Payloads

if TYPE_CHECKING:
    from taskq.broker.durable import Safely

_DISCARDED_AT_ONCE = 500


class Requeued(msgspec.Struct, frozen=True):
    """A dead letter's work under its new id."""

    origin: str
    id: str
    queue: str


def find(keys: Keys, id: str) -> Steps[str]:
    """Give the queue whose dead letter `id` is.

    Raises:
        TaskNotFound: it is no dead letter.
    """
    check_id(id)
    for queue in (yield from queue_names(keys, Budget())):
        if (yield from tolerant(read(keys, "ZSCORE", keys.dead(queue), id), None)) is not None:
            return queue
    raise TaskNotFound(f"task {id} is no dead letter; `taskq task {id}` says what is known of it")


def requeue(
    keys: Keys,
    queue: str,
    id: str,
    keep_ms: int,
    frames: FrameCodec = NO_KEYS,
    payloads: Payloads = NO_STORE,
    safely: Safely | None = None,
) -> Steps[Requeued]:
    """Enqueue the work of a dead letter of `queue` anew; what is known of the old task stays for `keep_ms`.

    `frames` has the keys: the old message is checked, so that no one has a forged one signed, and the new one signed.
    Offloaded arguments are copied, for an object lives as long as what is known of its task. With `safely` it counts as
    done once the new message is as safe as that says.

    Raises:
        DurabilityUnknown: the new message is not known to be so safe; `id` is its id, and `.retry()` sends it again.
        BadSignature: the old message is signed and there is no key for it, or it was altered or moved, or it is not
            signed although there are keys.
        TaskNotFound: it is no dead letter, or someone else has just requeued it.
        BadMessage: its message cannot be read, so that no new one can be made of it.
        PayloadError: its arguments are in a store that is out of reach, or has them no more.
    """
    letter = yield from _renewed(keys, queue, id, keep_ms, frames, payloads)
    (outcome,) = yield from _sent([letter], payloads, safely)
    if isinstance(outcome, TaskNotFound):
        raise outcome
    return outcome


class _Letter(msgspec.Struct, frozen=True):
    """A dead letter whose new message is made: what sends that, and the object that the old one has in the store."""

    keys: Keys
    requeued: Requeued
    command: Command[int]
    payload: str | None


def _renewed(
    keys: Keys, queue: str, id: str, keep_ms: int, frames: FrameCodec, payloads: Payloads
) -> Steps[_Letter]:
    ((_, data),) = yield lookup(keys, [id])
    if data is None:
        raise TaskNotFound(f"dead letter {id} has no message any more: there is nothing to requeue")
    try:
        old, _ = open_message(data, id, queue, frames)
    except BadSignature as error:
        raise BadSignature(f"dead letter {id} is not requeued: {error}") from error
    except BadMessage as error:
        raise BadMessage(f"the message of dead letter {id} is unreadable: it can only be purged") from error
    now_ms = yield from redis_now_ms(keys)
    message = msgspec.structs.replace(old, origin=id, created_ms=now_ms, due_ms=0, queue=queue)
    new = new_task_id(keys.shard)
    if old.payload is not None:
        message = yield work(partial(_copied, message, id, new, payloads))
    ready = f"{queue}:{message.priority}"
    sealed = seal_message(message, new, frames)
    command = operating.requeue(keys, id, queue, keep_ms, new, ready, sealed)
    return _Letter(keys, Requeued(id, new, queue), command, None if old.payload is None else old.payload.name)


def _sent(
    letters: Sequence[_Letter], payloads: Payloads, safely: Safely | None
) -> Steps[list[Requeued | TaskNotFound]]:
    """Send what was made of letters of one shard; gives what became of each."""
    answers: list[int]
    if safely is None:
        (alone,) = letters
        answers = [(yield alone.command)]
    else:
        try:
            answers = yield from safely.send(letters[0].keys, [letter.command for letter in letters])
        except BrokerUnavailable as error:
            first = letters[0].requeued
            raise unknown_enqueue(
                f"task {first.id}, which dead letter {first.origin} is requeued as,",
                first.id,
                safely.needs,
                error,
                lambda: safely.run(_sent(letters, payloads, safely)),
            ) from error
    outcomes: list[Requeued | TaskNotFound] = []
    for letter, answer in zip(letters, answers, strict=True):
        one = letter.requeued
        if answer == -1:
            outcomes.append(
                TaskNotFound(f"task {one.origin} is no dead letter of queue {one.queue!r} any more")
            )
            continue
        if letter.payload is not None:
            yield work(partial(_dropped, letter.payload, payloads))
        outcomes.append(one)
    return outcomes


def _copied(message: Message, id: str, new: str, payloads: Payloads) -> Message:
    bring_back(message, id, payloads)
    message, aside = set_aside(message, new, payloads)
    payloads.put(aside)
    return message


def _dropped(name: str, payloads: Payloads) -> None:
    with contextlib.suppress(PayloadUnavailable):  # a sweep finds it
        payloads.remove([name])


def requeue_all(
    shards: Sequence[Keys],
    wanted: Filter,
    keep_ms: int,
    frames: FrameCodec = NO_KEYS,
    payloads: Payloads = NO_STORE,
    safely: Safely | None = None,
) -> Steps[tuple[list[Requeued], dict[str, str]]]:
    """Requeue the dead letters that `wanted` accepts; gives what was requeued, and the ids that cannot be, with why."""
    done: list[Requeued] = []
    refused: dict[str, str] = {}
    together = 1 if safely is None else BATCH  # who waits for the disk waits once for many
    for keys, queue, ids in (yield from _select(shards, wanted)):
        for start in range(0, len(ids), together):
            made: list[_Letter] = []
            for task_id in ids[start : start + together]:
                try:
                    made.append((yield from _renewed(keys, queue, task_id, keep_ms, frames, payloads)))
                except (BadMessage, PayloadError, TaskNotFound) as error:
                    refused[task_id] = str(error)
            outcomes = (yield from _sent(made, payloads, safely)) if made else []
            for letter, outcome in zip(made, outcomes, strict=True):
                if isinstance(outcome, TaskNotFound):
                    refused[letter.requeued.origin] = str(outcome)
                else:
                    done.append(outcome)
    return done, refused


def discard_all(shards: Sequence[Keys], wanted: Filter) -> Steps[int]:
    """Remove every dead letter that `wanted` accepts, for good; gives how many there were."""
    removed = 0
    for keys, queue, ids in (yield from _select(shards, wanted)):
        removed += yield from discard(keys, queue, ids)
    return removed


def discard(keys: Keys, queue: str, ids: Sequence[str]) -> Steps[int]:
    """Remove these dead letters of `queue` for good; gives how many there were."""
    removed = 0
    for start in range(0, len(ids), _DISCARDED_AT_ONCE):
        gone, _ = yield operating.discard(keys, queue, ids[start : start + _DISCARDED_AT_ONCE])
        removed += gone
    return removed


def _select(shards: Sequence[Keys], wanted: Filter) -> Steps[list[tuple[Keys, str, list[str]]]]:
    # All are found before any is touched: what fails again meanwhile is not taken up a second time.
    selected: list[tuple[Keys, str, list[str]]] = []
    for keys in shards:
        queues = [wanted.queue] if wanted.queue else (yield from queue_names(keys, Budget()))
        for queue in queues:
            ids = yield from _accepted(keys, queue, wanted)
            selected.append((keys, queue, ids[::-1]))  # the oldest first
    return selected


def _accepted(keys: Keys, queue: str, wanted: Filter) -> Steps[list[str]]:
    # A queue keeps 10,000 dead letters at most: they are all looked at, however long it takes.
    budget = Budget(looks=20_000, seconds=600)
    place = DeadLetters(keys, queue)
    ids: list[str] = []
    while (sightings := (yield from place.page(budget))) is not None:
        known = yield from pairs_of(keys, [sighting.id for sighting in sightings])
        budget.saw(len(sightings), sum(len(message or b"") for _, message in known.values()))
        for sighting in sightings:
            row = row_of(sighting, *known.get(sighting.id, (b"", b"")))
            if (wanted == Filter(wanted.queue)) or (row is not None and wanted.accepts(row)):
                ids.append(sighting.id)
    return ids
