"""Which children there are to be: as many as are wanted, and each replaced when its time has come."""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskq.worker.autoscale import Autoscale
from taskq.worker.config import WorkerConfig
from taskq.worker.offspring import Offspring

log = logging.getLogger("taskq.worker")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0


class Population:
    """The children that live. It decides when one is made or told to stop; it kills none, and waits for none.

    Args:
        config: the worker's.
        make: makes a child.
    """

    def __init__(self, config: WorkerConfig, make: Callable[[], Offspring]) -> None:
        self.children: list[Offspring] = []
        self.make_at = 0.0
        """When (monotonic) the next may be made, after quick deaths; 0 for at once."""
        self._config = config
        self._make = make
        self._autoscale = Autoscale(
            config.processes, config.max_processes or config.processes, config.concurrency
        )
        self._reloading = False
        self._done = 0
        """Children that found all queues empty, with `burst`."""
        self._quick_deaths = 0

    @property
    def finished(self) -> bool:
        """True once so many have found the queues empty that no more is needed."""
        return self._done >= self._config.processes

    def add(self) -> Offspring:
        """Make one more."""
        child = self._make()
        self.children.append(child)
        return child

    def outdate(self) -> None:
        """Have each child replaced, one after the other: the code has changed."""
        self._reloading = True
        for child in self.children:
            child.outdated = True

    def scale(self, work_is_ready: Callable[[], bool], now: float) -> None:
        """Look whether the work needs another number of children."""
        if self._config.max_processes:
            running = sum(len(child.testimony.running()) for child in self.children)
            self._autoscale.look(running, work_is_ready, now)

    def tend(self, now: float, *, growing: bool) -> None:
        """Stop those whose successor is ready; if it is `growing`, begin replacements, and make who is missing."""
        for child in self.children:
            if child.successor is not None and child.successor.ready:
                child.successor = None
                self._retire(child)
        if not growing:
            return
        if not any(child.successor for child in self.children):
            for child in [child for child in self.children if child.outdated][:1]:
                child.outdated = False
                self._replace(child)
        present = [child for child in self.children if child.stays]
        if self._reloading and not any(child.outdated or child.successor for child in self.children):
            self._reloading = False
            log.info("reloaded: %d process(es) have the new code", len(present))
        if now < self.make_at:
            return
        self.make_at = 0.0
        for _ in range(self._autoscale.wanted - self._done - len(present)):
            self.add()
        for child in present[self._autoscale.wanted :]:
            self._retire(child)

    def replace_if_worn(self, child: Offspring) -> None:
        """Replace a child that is old, has run enough tasks, or has grown too large."""
        config = self._config
        if not child.ready or not child.stays or config.burst or self.make_at:
            return
        if config.max_tasks and child.testimony.done() >= config.max_tasks:
            why = f"it has run {child.testimony.done()} tasks"
        elif config.max_age_ms and child.age() * 1_000 >= config.max_age_ms:
            why = f"it is {child.age():.0f} s old"
        elif config.max_memory and (memory := child.memory()) > config.max_memory:
            why = f"it uses {memory // 1_000_000} MB"
        else:
            return
        log.info("pid %d is replaced: %s", child.pid, why)
        self._replace(child)

    def _replace(self, child: Offspring) -> None:
        if child.stays:
            child.successor = self.add()

    def _retire(self, child: Offspring) -> None:
        child.stop(self._config.grace_ms / 1_000)

    # -- what became of one

    def is_ready(self, child: Offspring) -> None:
        """One works: the next may be made at once."""
        child.ready = True
        self._quick_deaths = 0

    def is_gone(self, child: Offspring) -> None:
        """One lives no more."""
        self.children.remove(child)
        for other in self.children:
            if other.successor is child:
                other.successor, self._reloading = None, False  # it goes on with the code that it has

    def is_done(self) -> None:
        """One found all queues empty, and is not to be made again."""
        self._done += 1

    def died_quickly(self, now: float) -> None:
        """One died so soon that the next would, too: it is made later, ever more so."""
        self._quick_deaths += 1
        self.make_at = now + min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** (self._quick_deaths - 1))
