"""One life of a process: the name under which it claims and settles, never used again once it was reaped."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from itertools import islice

from taskq.broker.command import Command, Steps
from taskq.broker.commands import operating, working
from taskq.broker.commands.working import Answer, Batch, Beat, Outcome7
from taskq.broker.keys import Keys
from taskq.names import new_process_id
from taskq.worker.testimony import Testimony


def beat_s(lease_ms: int) -> float:
    """Give how often a lease is extended, in seconds: once a second, or often enough for a short lease."""
    return min(1.0, lease_ms / 4_000)


def declare_bounds(keys: Keys, bounds: Mapping[str, int | None]) -> Steps[None]:
    """Say how many tasks may be ready in queues, as an app's `max_length` has it."""
    for queue, most in bounds.items():
        yield operating.bound(keys, queue, "declared", most)


class Life:
    """Makes the commands of this process; knows its name, its seq, and when it must beat for itself."""

    def __init__(
        self,
        keys: Keys,
        *,
        lease_ms: int,
        queues: Sequence[str],
        weights: Sequence[int],
        tasks: Mapping[str, str],
        info: bytes,
        bounds: Mapping[str, int | None] | None = None,
    ) -> None:
        self.keys = keys
        self.process = ""
        self.lease_s = lease_ms / 1_000
        self.beat_s = beat_s(lease_ms)
        self.queues = tuple(queues)
        self._lease_ms, self._tasks, self._info, self._bounds = lease_ms, tasks, info, bounds or {}
        self._weights = tuple(weights)
        # With weights, each queue's turn to be first; the others follow in the order given.
        orders = [(queue, *(other for other in queues if other != queue)) for queue in queues]
        self._orders = [working.claim_words(keys, order) for order in (orders if weights else [self.queues])]
        self._seq = 1
        self._behind = 0
        """The seq of a claim that waits behind a BLPOP; 0 for none."""
        self._beaten = 0.0
        self._doubts = False

    def begin(self) -> Steps[None]:
        """Take a new name and register it, with the tasks this process knows and what its app says of queues."""
        process = new_process_id()
        yield working.hello(self.keys, process, self._lease_ms, self._info, self.queues)
        names = iter(self._tasks.items())
        while some := dict(islice(names, 100)):
            while (yield working.register(self.keys, process, some)):
                pass  # more stays parked than one call may release
        yield from declare_bounds(self.keys, self._bounds)
        self.process, self._seq, self._behind = process, 1, 0
        self._doubts, self._beaten = False, time.monotonic()

    def claim(self, limit: int) -> Command[Batch]:
        """Take up to `limit` tasks; the same command until `claimed` is called."""
        words = random.choices(self._orders, self._weights)[0] if self._weights else self._orders[0]
        return working.claim(self.keys, self.process, self._seq, limit, words)

    def claim_behind(self) -> Command[Batch]:
        """Take one task as soon as there is a token; until `woken`, other claims have the same seq."""
        self._behind = self._seq
        return self.claim(1)

    def woken(self) -> bool:
        """The reply to `claim_behind` was read. False: another claim was given its seq's tasks, and it repeats them."""
        counts, self._behind = self._behind == self._seq, 0
        return counts

    def claimed(self, gave: bool) -> None:
        """A claim's reply was read: the next one is another, unless the seq may still give tasks to `claim_behind`."""
        if gave or self._behind != self._seq:
            self._seq += 1

    def end_seq(self) -> Command[Batch]:
        """Take only what a claim whose reply was lost has taken; one that is still on its way takes nothing more."""
        self._behind = 0
        return self.claim(0)

    def pass_on(self, queue: str) -> Command[Batch]:
        """As `end_seq`, and leave a token for `queue` if it has work; not so if it takes something."""
        self._behind = 0
        return working.claim(self.keys, self.process, self._seq, 0, working.claim_words(self.keys, (queue,)))

    def settle(self, outcomes: Sequence[Outcome7]) -> Command[list[Answer]]:
        """Commit outcomes."""
        return working.settle(self.keys, self.process, outcomes)

    def start(self, id: str, g: int) -> Command[bool]:
        """Note that a careful task starts."""
        return working.start(self.keys, self.process, id, g)

    def park(self, id: str, g: int, task: str) -> Command[str]:
        """Set an unknown task aside."""
        return working.park(self.keys, self.process, id, g, task)

    def beat(self, now: float) -> Command[list[Beat]]:
        """Extend our own lease."""
        self._beaten = now
        return working.beat(self.keys, self._lease_ms, [self.process])

    def must_beat(self, testimony: Testimony, now: float) -> bool:
        """True when the supervisor has been silent for a third of the lease, or a claim was refused."""
        if now - self._beaten < self.beat_s:
            return False
        return self._doubts or testimony.supervisor_silent_ms() > self._lease_ms // 3

    def doubt(self) -> None:
        """A claim was refused: the lease ran out, for the clock jumped or for we were reaped. A beat tells which."""
        self._doubts = True

    def confirmed(self) -> None:
        """A beat said that the lease holds."""
        self._doubts = False
