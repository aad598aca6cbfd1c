"""A token that a process took for its neighbours too: what it takes it for may be work of an earlier queue."""

from __future__ import annotations

import time
from pathlib import Path
from typing import cast

from tests.support import wait_until
from tests.workers import Yard

HOLD_S = 1.2
"""How long the process that takes the token is busy with an earlier queue."""


def test_work_of_a_later_queue_does_not_wait_beside_an_idle_process(tmp_path: Path) -> None:
    """Which token is taken first is the server's choice, by the queues' names: so there are two later ones."""
    with Yard(tmp_path) as yard, yard.server.client() as client:
        yard.worker("quick", concurrency=1, queues=("n", "a", "b"))
        yard.worker("quick", concurrency=1, queues=("a", "b", "own"))
        hold, tick = (yard.app.named(f"tests.tests.apps.quick.{name}") for name in ("hold", "tick"))
        waited: list[float] = []
        for later in ("a", "b") * 3:
            yard.send("quick.tick", queue="own").result(timeout=10)  # it blocks after its neighbour
            wait_until(lambda: cast("dict[str, int]", client.info("clients"))["blocked_clients"] >= 2)
            calls = [
                hold.using(queue="n").call(HOLD_S),
                tick.using(queue="n").call(),
                tick.using(queue=later).call(),
            ]
            sent = time.monotonic()
            *_, handle = handles = [stored.get() for stored in yard.app.enqueue_many(calls)]
            yard.wait_ended(handles)
            waited.append(yard.ledger.starts(handle.id)[0].at - sent)

        # An idle process looks by itself after 1.6 s at the earliest.
        assert max(waited) < 1.0, waited
