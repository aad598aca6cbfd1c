"""Tasks that are settled at their start, or by their own word."""

from __future__ import annotations

import asyncio
import time

from taskq import RetryPolicy, TaskQ, current_task
from tests.apps.ledger import note, noted

app = TaskQ("tests")

AT_ONCE = RetryPolicy(max_retries=2, delay=0.02, factor=1, jitter=False)


@app.task(ack="early")
def early(seconds: float = 0.0) -> str:
    with noted():
        time.sleep(seconds)
        return "not kept"


@app.task(ack="early")
async def aearly(seconds: float = 0.0) -> str:
    with noted():
        await asyncio.sleep(seconds)
        return "not kept"


@app.task(ack="early", retry=AT_ONCE)
def early_failure() -> None:
    with noted():
        raise ValueError("too late to matter")


@app.task(ack="early", retry=AT_ONCE)
async def aearly_failure() -> None:
    with noted():
        raise ValueError("too late to matter")


@app.task(ack="late")
def late(seconds: float = 0.0) -> None:
    with noted():
        time.sleep(seconds)


@app.task(ack="late")
async def alate(seconds: float = 0.0) -> None:
    with noted():
        await asyncio.sleep(seconds)


@app.task(ack="manual", retry=AT_ONCE)
def manual(word: str, delay: float | None = None, then: float = 0.0) -> str:
    with noted():
        _say(word, delay)
        time.sleep(then)
        return "not kept"


@app.task(ack="manual", retry=AT_ONCE)
async def amanual(word: str, delay: float | None = None, then: float = 0.0) -> str:
    with noted():
        _say(word, delay)
        await asyncio.sleep(then)
        return "not kept"


def _say(word: str, delay: float | None) -> None:
    task = current_task()
    if word == "ack":
        task.ack()
    elif word == "twice":
        task.ack()
        try:
            task.ack()
        except RuntimeError as error:
            note("refused", *str(error).split())
    elif word == "ack and raise":
        task.ack()
        raise ValueError("after the word")
    elif word == "nack" or (word == "nack once" and task.attempt == 1):
        task.nack(delay=delay)
    elif word == "nack once":
        task.ack()


@app.task(max_retries=0)
def not_manual() -> None:
    current_task().ack()
