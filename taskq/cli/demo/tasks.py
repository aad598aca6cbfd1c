"""The demo's app, as a user would write one. Worker processes run it; the demo enqueues to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from taskq import RetryPolicy, TaskQ, current_task
from taskq.cli.demo.indexing import Facts, facts_of, undisturbed
from taskq.cli.demo.ledger import Ledger
from taskq.cli.trial.guard import guarded


@asynccontextmanager
async def lifespan(_: TaskQ) -> AsyncGenerator[Ledger]:
    """Give the tasks their ledger."""
    async with guarded() as directory:
        with undisturbed():
            yield Ledger(directory)


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
