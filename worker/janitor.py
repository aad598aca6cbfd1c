"""The janitor of a process: removes offloaded payloads from their store, in a thread of its own.

The supervisor never imports the app, and neither the engine nor a task is to wait for a disk.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from contextlib import suppress

from taskq.broker.client import Broker
from taskq.errors import BrokerError, PayloadError
from taskq.inspector.payloads import sweep
from taskq.payloads import Payloads

log = logging.getLogger("taskq.worker")

EVERY_S = 3_600.0
"""How often a store is swept, about, by one of all processes that use it."""

_LOOKS_EVERY_S = 300.0
_AT_ONCE = 500


class Janitor:
    """Removes what it is told to, and sweeps the store when it is time. Nothing is lost if it fails: a sweep comes."""

    def __init__(self, payloads: Payloads, broker: Broker) -> None:
        self._payloads, self._broker = payloads, broker
        self._names: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._away = False

    def start(self) -> None:
        """Begin, if there is a store."""
        if self._payloads.store is not None:
            self._thread = threading.Thread(target=self._run, name="taskq-janitor", daemon=True)
            self._thread.start()

    def discard(self, name: str) -> None:
        """Take the name of an object that no message refers to any more. Called from any thread, and does not block."""
        if self._thread is not None:
            self._names.put(name)

    def stop(self, deadline: float) -> None:
        """Remove what was named, until `deadline` (monotonic) at the latest."""
        if self._thread is not None:
            self._names.put(None)
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        look = time.monotonic() + random.uniform(0.2, 1) * _LOOKS_EVERY_S  # not all processes at once
        while True:
            names: list[str | None] = []
            with suppress(queue.Empty):
                names.append(self._names.get(timeout=max(0.0, look - time.monotonic())))
                while len(names) < _AT_ONCE:
                    names.append(self._names.get_nowait())
            self._remove([name for name in names if name is not None])
            if None in names:
                return
            if time.monotonic() >= look:
                look = time.monotonic() + _LOOKS_EVERY_S
                self._sweep()

    def _remove(self, names: list[str]) -> None:
        if not names:
            return
        try:
            self._payloads.remove(names)
            self._away = False
        except PayloadError as error:
            if not self._away:
                log.warning("payloads that are used no more are left to a sweep: %s", error)
            self._away = True

    def _sweep(self) -> None:
        try:
            if self._payloads.reach().take_turn(EVERY_S):
                found = self._broker.run(sweep(self._payloads, self._broker.namespace))
                log.info(
                    "swept the store of payloads: %d removed, of %d old ones", found.removed, found.looked
                )
        except (PayloadError, BrokerError) as error:
            log.warning("the store of payloads was not swept: %s", error)
