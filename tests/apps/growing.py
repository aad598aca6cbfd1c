"""Tasks that make a process older, bigger or unable to start."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncGenerator

from taskq import TaskQ
from tests.apps.ledger import note, noted

BREAK = "TASKQ_TEST_BREAK"
_kept: list[bytearray] = []


@contextlib.asynccontextmanager
async def span(app: TaskQ) -> AsyncGenerator[None]:
    """Fail to start for as long as the file that is named in the environment exists."""
    if BREAK in os.environ and os.path.exists(os.environ[BREAK]):  # noqa: ASYNC240, PTH110 - before any task
        raise ValueError("the lifespan cannot be entered")
    yield


app = TaskQ("tests", lifespan=span)


@app.task
def grow(megabytes: int) -> int:
    with noted():
        _kept.append(bytearray(megabytes * 1_000_000))
        return os.getpid()


@app.task
def rest(seconds: float) -> int:
    with noted():
        time.sleep(seconds)
        return os.getpid()


@app.task(max_retries=0)
def spawn(child: str) -> None:
    """Enqueue another task from within a task, by the app that runs it."""
    note("start")
    app.named(f"tests.tests.apps.growing.{child}").enqueue(0)


@app.task
def leave_cleanly(seconds: float) -> None:
    note("start")
    time.sleep(seconds)
    os._exit(0)
