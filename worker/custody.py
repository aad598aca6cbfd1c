"""What the supervisor does at the server for its children: beats for them, and gives back what the dead held."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taskq.broker.client import Broker
from taskq.broker.commands import reading, working
from taskq.broker.commands.working import Hold, Kind, Outcome7
from taskq.errors import BrokerError, BrokerUnavailable
from taskq.worker.offspring import Offspring
from taskq.worker.testimony import Running

log = logging.getLogger("taskq.worker")


class Custody:
    """Holds the leases of all children of one supervisor."""

    def __init__(self, broker: Broker, lease_ms: int, queues: Sequence[str]) -> None:
        self._broker = broker
        self._keys = broker.keys[0]
        self.lease_ms = lease_ms
        self.beaten = time.monotonic()
        """When the server last confirmed a beat."""
        self._estate: list[_Estate] = []
        self._lists = [key for queue in queues for key in self._keys.lists(queue)]

    def beat(self, children: Iterable[Offspring]) -> bool:
        """Extend all leases in one call; pass on what was asked, and who was reaped. False without an answer."""
        living = [child for child in children if child.process]
        for child in living:
            child.testimony.beat()
            child.channel.flush()
        try:
            if living:
                beats = self._broker.call(
                    working.beat(self._keys, self.lease_ms, [child.process for child in living])
                )
                for child, beat in zip(living, beats, strict=True):
                    self._pass_on(child, beat)
            self.beaten = time.monotonic()
            self.settle_estates()
        except BrokerError as error:
            log.debug("no beat: %s", error)
            return False
        return True

    @staticmethod
    def _pass_on(child: Offspring, beat: working.Beat) -> None:
        if not beat.alive:
            log.warning(
                "process %s (pid %d) was given up by another worker, and takes a new name",
                child.process,
                child.pid,
            )
            child.channel.send(kind="reaped", process=child.process)
            child.process = ""
            return
        if beat.cancels:  # each time: the child may not have heard yet that it holds them
            child.channel.send(kind="cancel", tasks=beat.cancels)

    def return_unstarted(self, child: Offspring) -> None:
        """Give back what a child that does not answer has not started; what runs keeps its lease.

        Again while it is silent: the claim that it left behind its BLPOP may be given a task meanwhile.
        """
        child.testimony.revoke()
        holds = self._broker.call(working.holds(self._keys, child.process))
        running = {one.g for one in child.testimony.running()}
        back = {id: hold for id, hold in holds.items() if hold.g not in running}
        self._settle(child.process, back, Kind.RELEASED)
        if back or not child.wedged:
            log.warning("pid %d does not answer: %d unstarted task(s) went back", child.pid, len(back))

    def inherit(self, child: Offspring) -> None:
        """Give back what a dead child held: at once, or with the next beat if the server is away."""
        if child.process:
            running = frozenset(one.g for one in child.testimony.running() if _may_have_killed(one, child))
            self._estate.append(_Estate(child.pid, child.process, running, child.killed_for, child.given_up))
            try:
                self.settle_estates()
            except BrokerError as error:
                log.warning("what pid %d held goes back when the server answers: %s", child.pid, error)

    def settle_estates(self) -> None:
        """Give back what dead children held.

        Raises:
            BrokerError: the server does not answer; the rest is kept for the next time.
        """
        while self._estate:
            self._settle_estate(self._estate[0])
            self._estate.pop(0)

    def _settle_estate(self, estate: _Estate) -> None:
        holds = self._holds_of(estate.process)
        running = {id: hold for id, hold in holds.items() if hold.g in estate.running}
        ran = ", ".join(list(running)[:5]) + (" and more" if len(running) > 5 else "")
        if estate.given_up:
            running = {}
        elif estate.killed_for:
            running = {id: hold for id, hold in running.items() if hold.g in estate.killed_for}
        if len(running) == 1 or estate.killed_for:
            self._settle(estate.process, running, Kind.CRASHED)
        else:
            # Several ran: any may have done it. They run alone next, and only what dies alone is charged.
            self._settle(estate.process, running, Kind.SUSPECT)
        while self._broker.call(working.reap(self._keys, estate.process, None)) > 0:
            pass  # what is left had not started, and is charged nothing
        if holds:
            log.warning(
                "pid %d (process %s) is gone: %d task(s) went back%s%s",
                estate.pid,
                estate.process,
                len(holds),
                f"; it ran {ran}" if ran else ", none of which ran",
                ", nothing is charged" if estate.given_up else "",
            )

    def _holds_of(self, process: str) -> dict[str, Hold]:
        try:
            return self._broker.call(working.holds(self._keys, process))
        except BrokerUnavailable:
            raise
        except BrokerError as error:
            # A wrong type is there: the reap takes it away, and a sweep finds records that nobody holds.
            log.error("what process %s held cannot be read: %s", process, error)
            return {}

    def _settle(self, process: str, holds: dict[str, Hold], kind: Kind) -> None:
        words: list[Outcome7] = [
            (id, hold.g, kind.letter, 0, "-", 0, b"")
            for id, hold in sorted(holds.items(), key=lambda item: (item[1].seq, item[1].index))
        ]
        for start in range(0, len(words), working.BATCH):
            self._broker.call(working.settle(self._keys, process, words[start : start + working.BATCH]))

    def work_is_ready(self) -> bool:
        """True if a task waits in one of the queues."""
        try:
            return bool(self._broker.call(reading.read(self._keys, "EXISTS", *self._lists)))
        except BrokerError:
            return False

    def pending(self) -> bool:
        """True while something of the dead is still to be given back."""
        return bool(self._estate)


def _may_have_killed(one: Running, child: Offspring) -> bool:
    return not one.apart or one.g in child.killed_for


@dataclass(frozen=True, slots=True)
class _Estate:
    """What a dead child leaves behind."""

    pid: int
    process: str
    running: frozenset[int]
    """The generations that ran in the child itself, or that it was killed for."""
    killed_for: frozenset[int]
    given_up: bool


def processes_of(children: Sequence[Offspring]) -> set[str]:
    """The names of the living."""
    return {child.process for child in children if child.process}
