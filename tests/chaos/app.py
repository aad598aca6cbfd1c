"""The tasks that are tortured. Each writes down its start and its end."""

from __future__ import annotations

import asyncio
import time

from taskq import TaskQ
from tests.chaos import witness
from tests.chaos.ledger import noted

app = TaskQ("chaos")
witness.attend()


@app.task
def work(ms: int) -> None:
    """Wait, as for a service."""
    with noted():
        time.sleep(ms / 1_000)


@app.task
async def awork(ms: int) -> None:
    """As `work`, on the loop."""
    with noted():
        await asyncio.sleep(ms / 1_000)
