"""What each process that runs tasks has around them: its loop, the app's life in it, its signals, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, NoReturn

from taskq.app import TaskQ
from taskq.errors import ConfigurationError
from taskq.middleware import Hooks, arun


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a loop of its own, uvloop's where that is installed."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    with contextlib.suppress(ImportError):
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


@contextlib.asynccontextmanager
async def lifespan_of(app: TaskQ) -> AsyncGenerator[Any]:
    """Enter the app's lifespan; one that is sync runs here too, for it sets up what the tasks of this process use."""
    manager = None if app.lifespan is None else app.lifespan(app)
    if manager is None:
        yield None
    elif isinstance(manager, AbstractAsyncContextManager):
        async with manager as state:
            yield state
    elif isinstance(manager, AbstractContextManager):
        with manager as state:
            yield state
    else:
        raise ConfigurationError(
            f"lifespan gave {manager!r}: decorate it with contextlib.asynccontextmanager"
        )


@contextlib.asynccontextmanager
async def life_of(app: TaskQ, hooks: Hooks) -> AsyncGenerator[Any]:
    """Give what the lifespan yields to a process that runs tasks and does nothing else; its hooks run around."""
    await arun(hooks.before_process_start, app)
    async with lifespan_of(app) as state:
        await arun(hooks.after_process_start, app)
        yield state
        await arun(hooks.before_process_stop, app)
    await arun(hooks.after_process_stop, app)


def let_go_of_signals() -> None:
    """Have a process that was just forked take its signals as any other does.

    It shares the descriptor that wakes its parent's event loop: a TERM to it, as a pool sends to its own, would stop
    that.
    """
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave(code: int) -> NoReturn:
    """End this process now: daemon threads may still run tasks, and a forked child must not run its parent's exit."""
    try:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a task may have closed it, or its reader is gone
                stream.flush()
    finally:
        os._exit(code)
