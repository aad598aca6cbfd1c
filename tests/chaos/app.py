"""The tasks that are tortured. Each writes down its start and its end."""

from __future__ import annotations

import asyncio
import os
import time

from taskq import RetryPolicy, TaskQ, current_task
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


@app.task
async def holding(ms: int) -> None:
    """As `work`, but on the loop: nothing else there goes on meanwhile."""
    with noted():
        time.sleep(ms / 1_000)  # noqa: ASYNC251 - what it is for


@app.task
async def until(path: str) -> None:
    """Wait until a file is there."""
    with noted():
        while not os.path.exists(path):  # noqa: ASYNC110, ASYNC240, PTH110 - a file is no asyncio.Event
            await asyncio.sleep(0.1)


_AGAIN = RetryPolicy(max_retries=5, delay=0.05, factor=1)


@app.task(retry=_AGAIN)
def failing(ms: int) -> None:
    """Wait, and fail at each first attempt of two."""
    with noted():
        time.sleep(ms / 1_000)
        if current_task().attempt % 2:
            raise ValueError("as it is meant to")


@app.task(retry=_AGAIN)
async def afailing(ms: int) -> None:
    """As `failing`, on the loop."""
    with noted():
        await asyncio.sleep(ms / 1_000)
        if current_task().attempt % 2:
            raise ValueError("as it is meant to")
