"""Tasks with large arguments and results, which a store takes that TASKQ_OFFLOAD_TO names."""

from __future__ import annotations

import asyncio
import time

from taskq import Retry, TaskQ, current_task
from tests.apps.ledger import noted

app = TaskQ("tests", offload_over="1KB")


@app.task
def double(data: bytes, seconds: float = 0.0) -> bytes:
    with noted(len(data)):
        time.sleep(seconds)
        return data * 2


@app.task
async def adouble(data: bytes, seconds: float = 0.0) -> bytes:
    with noted(len(data)):
        await asyncio.sleep(seconds)
        return data * 2


@app.task(max_retries=2)
def third_time(data: bytes) -> int:
    with noted(len(data)):
        if current_task().attempt < 3:
            raise Retry(delay=0)
        return len(data)


@app.task(max_retries=0)
def fail(data: bytes) -> None:
    with noted(len(data)):
        raise ValueError(len(data))


@app.task(keep_message=True)
def keep(data: bytes) -> int:
    with noted(len(data)):
        return len(data)


@app.task(ack="early")
def early(data: bytes) -> None:
    with noted(len(data)):
        pass


@app.task
def kill_once(data: bytes, seconds: float) -> bytes:
    """Be killed at the first attempt by the test, in the middle."""
    with noted(len(data)):
        time.sleep(seconds if current_task().attempt == 1 else 0)
        return data
