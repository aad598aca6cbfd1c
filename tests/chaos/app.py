"""The tasks that are tortured. Each writes down its start and its end."""

from __future__ import annotations

import asyncio
import time

from taskq import TaskQ
from tests.chaos import poison, witness
from tests.chaos.ledger import noted

app = TaskQ("chaos")
witness.attend()


@app.task
def work(ms: int, ballast: str = "") -> None:
    """Wait, as for a service."""
    with noted():
        time.sleep(ms / 1_000)


@app.task
async def awork(ms: int) -> None:
    """As `work`, on the loop."""
    with noted():
        await asyncio.sleep(ms / 1_000)


@app.task(max_crashes=3, max_retries=0, timeout=0.5)
def pill(how: str) -> None:
    """Take along what it can, in a way of tests/chaos/poison.py."""
    with noted():
        poison.WAYS[how]()


@app.task(max_crashes=1, max_retries=0, timeout=0.5)
def plug() -> None:
    """Never return from C code: only a kill ends it, 3 s after its timeout, so it may do that once only."""
    with noted():
        poison.hang()
