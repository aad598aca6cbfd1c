"""Durability: an order that is taken is on the server's disk before the customer hears of it.

Run `taskq dev examples.durability:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/durability.py`.
"""

from __future__ import annotations

import time

from taskq import TaskQ
from taskq.errors import DurabilityUnknown

app = TaskQ("durability")


@app.task(durability="fsync")
def ship(order: int) -> str:
    return f"order {order} is on its way"


@app.task
def count_click(page: str) -> None:
    """One more or less makes no difference, so nothing is waited for."""


def take(order: int) -> str:
    call = ship.using(id=f"ship-{order}")  # so that a customer who clicks twice gets one parcel
    try:
        call.enqueue(order)
    except DurabilityUnknown as error:
        error.retry()  # a slow disk has another 30 s
    return f"order {order} is taken"


def main() -> None:
    for what in (lambda: count_click.enqueue("/tea"), lambda: take(7)):
        started = time.monotonic()
        what()
        print(f"took {(time.monotonic() - started) * 1_000:.0f} ms")
    # They wait together, a batch at a time.
    started = time.monotonic()
    ship.enqueue_many([(order,) for order in range(1_000, 2_000)])
    print(f"a thousand took {(time.monotonic() - started) * 1_000:.0f} ms")
    print(ship.handle("ship-7").result(timeout=10))


if __name__ == "__main__":
    main()
