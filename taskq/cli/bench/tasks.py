"""The app that `taskq bench` enqueues to. Its worker processes import it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from taskq import TaskQ
from taskq.cli.trial.guard import guarded


@asynccontextmanager
async def _lifespan(_: TaskQ) -> AsyncGenerator[None]:
    async with guarded():
        yield


app = TaskQ("bench", lifespan=_lifespan)


@app.task
def nothing(payload: bytes = b"") -> None:
    """Do nothing, in a thread."""


@app.task
async def anothing(payload: bytes = b"") -> None:
    """Do nothing, on the event loop."""


@app.task
def stamp() -> int:
    """Say when it started, in ns of the monotonic clock, which all processes of a machine share."""
    return time.monotonic_ns()
