"""What a killed run left on the server: the namespaces of runs that nobody runs any more."""

from __future__ import annotations

import re
import time
from typing import Any

from taskq.broker.client import Broker
from taskq.broker.command import text
from taskq.broker.commands.reading import read
from taskq.broker.keys import Keys
from taskq.cli.bench.ground import remove
from taskq.errors import BrokerError
from taskq.inspector.doctor import Patient
from taskq.inspector.processes import processes

_OURS = re.compile(r"tq:\{(bench-[0-9a-f]{8}):0\}:")
_GLOB = "tq:{bench-????????:0}:*"
_BATCH = 1_000
_LOOKS_S = 2.0
"""So long it looks, which is some hundred thousand keys: a large server is not held up for it. And so long it waits
for the memory."""
_QUIET_S = 60
"""A run has no worker for moments between two rounds, but never lets `meta` rest for so long."""


def remove_leftovers(broker: Broker) -> dict[str, int]:
    """Delete the keys of runs that were killed, in small steps, and free their memory; gives how many each had.

    A run is over if no process of it holds a lease, and no command has touched it for a minute. A server that does
    not say how long a key has rested keeps what it has.

    Raises:
        BrokerError: the server fails, or refuses.
    """
    (own,) = broker.keys
    left = [Keys(name) for name in sorted(_namespaces(broker, own)) if name != own.namespace]
    removed = {keys.namespace: remove(broker, keys) for keys in left if _is_over(broker, keys)}
    if removed:
        _wait_until_freed(broker)
    return removed


def _namespaces(broker: Broker, own: Keys) -> set[str]:
    names: set[str] = set()
    until = time.monotonic() + _LOOKS_S
    cursor: Any = 0
    while True:
        cursor, found = broker.call(read(own, "SCAN", cursor, "MATCH", _GLOB, "COUNT", _BATCH))
        names |= {ours[1] for key in found if (ours := _OURS.match(text(key)))}
        if int(cursor) == 0 or time.monotonic() > until:
            return names


def _wait_until_freed(broker: Broker) -> None:
    """UNLINK leaves large values to a thread of the server."""
    until = time.monotonic() + _LOOKS_S
    while int(broker.run(Patient(broker.keys).info()).get("lazyfree_pending_objects", 0)):
        if time.monotonic() > until:
            return
        time.sleep(0.01)


def _is_over(broker: Broker, keys: Keys) -> bool:
    if any(one.lease_ms for one in broker.run(processes([keys]))):
        return False
    if not broker.call(read(keys, "EXISTS", keys.meta)):
        return True  # its removal was broken off: no script runs without `meta`
    # By Redis's own count, which neither this question nor SCAN sets back.
    try:
        return int(broker.call(read(keys, "OBJECT", "IDLETIME", keys.meta)) or 0) >= _QUIET_S
    except BrokerError:  # it counts how often keys are used instead
        return False
