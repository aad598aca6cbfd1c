"""Dead letters: tasks that failed for good, kept with their messages until someone decides."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from taskq.broker.command import Steps
from taskq.broker.commands import operating
from taskq.broker.commands.reading import lookup, read
from taskq.broker.keys import Keys
from taskq.errors import BadMessage, BadSignature, TaskNotFound
from taskq.frame import NO_KEYS, FrameCodec
from taskq.inspector.listing import Filter, queue_names, row_of
from taskq.inspector.places import DeadLetters
from taskq.inspector.scan import Budget, pairs_of, redis_now_ms, tolerant
from taskq.message import open_message, seal_message
from taskq.names import check_id, new_task_id

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


def requeue(keys: Keys, queue: str, id: str, keep_ms: int, frames: FrameCodec = NO_KEYS) -> Steps[Requeued]:
    """Enqueue the work of a dead letter of `queue` anew; what is known of the old task stays for `keep_ms`.

    `frames` has the keys: the old message is checked, so that no one has a forged one signed, and the new one signed.

    Raises:
        BadSignature: the old message is signed and there is no key for it, or it was altered or moved, or it is not
            signed although there are keys.
        TaskNotFound: it is no dead letter, or someone else has just requeued it.
        BadMessage: its message cannot be read, so that no new one can be made of it.
    """
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
    message = msgspec.structs.replace(old, origin=id, created_ms=now_ms, queue=queue)
    new = new_task_id(keys.shard)
    ready = f"{queue}:{message.priority}"
    sealed = seal_message(message, new, frames)
    answer = yield operating.requeue(keys, id, queue, keep_ms, new, ready, sealed)
    if answer == -1:
        raise TaskNotFound(f"task {id} is no dead letter of queue {queue!r} any more")
    return Requeued(id, new, queue)


def requeue_all(
    shards: Sequence[Keys], wanted: Filter, keep_ms: int, frames: FrameCodec = NO_KEYS
) -> Steps[tuple[list[Requeued], dict[str, str]]]:
    """Requeue the dead letters that `wanted` accepts; gives what was requeued, and the ids that cannot be, with why."""
    done: list[Requeued] = []
    refused: dict[str, str] = {}
    for keys, queue, ids in (yield from _select(shards, wanted)):
        for task_id in ids:
            try:
                done.append((yield from requeue(keys, queue, task_id, keep_ms, frames)))
            except (BadMessage, TaskNotFound) as error:
                refused[task_id] = str(error)
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
