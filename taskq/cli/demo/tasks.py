"""The demo's app, as a user would write one. Worker processes run it; the demo enqueues to it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TextIO

from taskq import RetryPolicy, TaskQ, current_task
from taskq.cli.demo.environment import LOCK
from taskq.cli.demo.indexing import Facts, facts_of, undisturbed
from taskq.cli.demo.ledger import Ledger

DIRECTORY = "TASKQ_DEMO_DIRECTORY"
"""The variable that tells worker processes where the demo's files are."""


@asynccontextmanager
async def lifespan(_: TaskQ) -> AsyncGenerator[Ledger]:
    """Give the tasks their ledger, and end the worker once the demo is gone: it may be killed, too."""
    directory = Path(os.environ[DIRECTORY])
    with (directory / LOCK).open() as lock, undisturbed():
        guard = asyncio.create_task(_end_with_the_demo(lock))
        try:
            yield Ledger(directory)
        finally:
            guard.cancel()


async def _end_with_the_demo(lock: TextIO) -> None:
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            break
        await asyncio.sleep(0.5)
    os.kill(os.getppid(), signal.SIGTERM)


app = TaskQ("demo", namespace="demo", lifespan=lifespan)


class Stumbled(Exception):
    """Raised by tasks that are made to fail the first time."""


@app.task(name="demo.index", retry=RetryPolicy(max_retries=3, delay="200ms"))
def index(path: bytes, stumble: bool) -> Facts:
    """Index one file; with `stumble`, only after a first failure."""
    context = current_task()
    ledger: Ledger = context.state
    with ledger.run(context):
        if stumble and context.failures == 0:
            raise Stumbled("this task is made to fail the first time")
        return facts_of(path)


@app.task(name="demo.hopeless", retry=RetryPolicy(max_retries=2, delay="200ms"))
def hopeless() -> None:
    """Fail at every run, and become a dead letter."""
    context = current_task()
    ledger: Ledger = context.state
    with ledger.run(context):
        raise Stumbled("this task is made to fail every time")
