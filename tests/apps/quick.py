"""Tasks whose order, place and time of start the tests look at."""

from __future__ import annotations

import asyncio
import time

from taskq import TaskQ
from tests.apps.ledger import noted

app = TaskQ("tests")


@app.task
def tick(word: str = "-") -> None:
    with noted(word):
        pass


@app.task
async def atick(word: str = "-") -> None:
    with noted(word):
        pass


@app.task
def hold(seconds: float, word: str = "-") -> None:
    with noted(word):
        time.sleep(seconds)


@app.task
async def ahold(seconds: float, word: str = "-") -> None:
    with noted(word):
        await asyncio.sleep(seconds)


@app.task
def moody(seconds: float) -> None:
    """Quick as a rule, and fetched ahead for that; slow when it is told to."""
    with noted():
        time.sleep(seconds)


@app.task
async def amoody(seconds: float) -> None:
    with noted():
        await asyncio.sleep(seconds)
