"""What the read side sees, in short words for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskq.broker.client import Broker
from taskq.inspector.detail import Detail, detail
from taskq.inspector.doctor import Finding, Patient, diagnose
from taskq.inspector.listing import Filter, Row, tasks
from taskq.inspector.namespace_checks import NAMESPACE_CHECKS
from taskq.inspector.server_checks import SERVER_CHECKS
from taskq.record import State
from tests.hand import put
from tests.servers import RedisServer

KEEP_MS = 60_000


def listed(broker: Broker, *states: State, limit: int = 100, **filters: str) -> list[Row]:
    """List tasks, and hold that all were looked at."""
    found = broker.run(tasks(broker.keys, states, Filter(**filters), limit))
    assert not found.partial
    return found.tasks


def ids(rows: Sequence[Row]) -> list[str]:
    return [row.id for row in rows]


def look(broker: Broker, id: str) -> Detail:
    """Look up one task."""
    return broker.run(detail(broker.keys_of(id), id))


def fill(server: RedisServer, broker: Broker, number: int) -> list[str]:
    """Put one task into a queue and, past the scripts, `number` copies of it; give the copies' ids."""
    first = put(broker, "shop.many")
    keys = broker.keys[0]
    with server.client() as client:
        body: Any = client.get(keys.message(first))
        made = [f"many-{n}" for n in range(number)]
        for start in range(0, number, 10_000):
            some = made[start : start + 10_000]
            client.mset({keys.message(one): body for one in some})
            client.rpush(keys.ready("default", 5), *some)
    return made


def findings(url: str, namespace: str = "test-doctor") -> dict[str, list[Finding]]:
    """What the doctor finds, by check."""
    broker = Broker(url, namespace, patience=2)
    try:
        found = broker.run(diagnose(Patient(broker.keys), (*SERVER_CHECKS, *NAMESPACE_CHECKS)))
    finally:
        broker.close()
    return {one.check: [other for other in found if other.check == one.check] for one in found}


def finding(url: str, check: str, namespace: str = "test-doctor") -> Finding:
    """What one check of the doctor finds, which is one thing."""
    [found] = findings(url, namespace)[check]
    return found
