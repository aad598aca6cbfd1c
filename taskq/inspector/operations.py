"""What people do to queues and tasks. Each is written to every shard, and returns when all have confirmed."""

from __future__ import annotations

from collections.abc import Sequence

from taskq.broker.command import Steps
from taskq.broker.commands import operating, producing
from taskq.broker.commands.reading import read
from taskq.broker.keys import PRIORITIES, Keys
from taskq.errors import TaskNotFound
from taskq.inspector.scan import tolerant
from taskq.names import check_id, check_name
from taskq.record import State


def pause(shards: Sequence[Keys], queue: str) -> Steps[None]:
    """Let workers start nothing more of `queue` until it is resumed; what runs goes on."""
    check_name("the queue", queue)
    for keys in shards:
        yield operating.pause(keys, queue)


def resume(shards: Sequence[Keys], queue: str) -> Steps[None]:
    """Let workers start tasks of `queue` again."""
    check_name("the queue", queue)
    for keys in shards:
        yield operating.resume(keys, queue)


def set_max_length(shards: Sequence[Keys], queue: str, most: int | None) -> Steps[int]:
    """Have `queue` accept no new task while `most` are ready; 0: no bound, None: what code declares counts again.

    Gives what counts now, 0 for no bound.
    """
    check_name("the queue", queue)
    counts = 0
    for keys in shards:
        counts = yield operating.bound(keys, queue, "set", most)
    return counts


def purge(shards: Sequence[Keys], queue: str, keep_ms: int) -> Steps[int]:
    """Cancel what is ready in `queue` now; gives how many. Scheduled and running tasks stay.

    What is known of the cancelled tasks stays for `keep_ms`.
    """
    check_name("the queue", queue)
    cancelled = 0
    for keys in shards:
        for priority in PRIORITIES:
            # As many as there were: a queue that fills as fast would never be empty.
            left = yield from tolerant(read(keys, "LLEN", keys.ready(queue, priority)), 0)
            while left > 0:
                some, remaining = yield operating.purge(keys, queue, priority, keep_ms)
                cancelled += some
                left = min(left - max(some, 1), remaining)
    return cancelled


def cancel(keys: Keys, id: str, keep_ms: int) -> Steps[State]:
    """Cancel a task; gives where it stands after that: RUNNING means that its process was asked to stop it.

    Raises:
        BadName: `id` can be no task's.
        TaskNotFound: nothing is known of it.
    """
    check_id(id)
    state: State | None = yield producing.cancel(keys, id, keep_ms)
    if state is None:
        raise TaskNotFound(f"nothing is known of task {id}: it never existed, or its record's time is over")
    return state


def exists(shards: Sequence[Keys], queue: str) -> Steps[bool]:
    """True if `queue` was ever used or served."""
    for keys in shards:
        if (yield read(keys, "HEXISTS", keys.queues, queue)):
            return True
    return False
