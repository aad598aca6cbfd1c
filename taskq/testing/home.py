"""The event loop of a test's worker process, and the app's life on it: hooks around, the lifespan within."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from taskq.app import TaskQ
from taskq.middleware import arun
from taskq.worker.process import lifespan_of

T = TypeVar("T")


class LoopThread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._main(started),), name="taskq-testing", daemon=True
        )
        self._thread.start()
        self.loop = started.result()

    async def _main(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        self._stop = asyncio.Event()
        started.set_result(asyncio.get_running_loop())
        await self._stop.wait()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and wait for its end."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def stop(self) -> None:
        """End the loop and the thread."""
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


class Life:
    """The life of a process: its start and stop hooks, and the lifespan, which one asyncio task enters and leaves."""

    def __init__(self, app: TaskQ) -> None:
        self._app = app
        self._task: asyncio.Task[None]
        self._up: asyncio.Event
        self._over: asyncio.Event
        self.state: Any = None

    async def begin(self) -> None:
        """Start on the running loop. Raises what the lifespan raises."""
        self._up, self._over = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._live())
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait((up, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not self._up.is_set():
            up.cancel()
            await self._task

    async def end(self) -> None:
        """Stop, on the same loop. Raises what the lifespan raises."""
        self._over.set()
        await self._task

    async def _live(self) -> None:
        app, hooks = self._app, self._app.hooks
        await arun((*hooks.before_worker_start, *hooks.before_process_start), app)
        async with lifespan_of(app) as self.state:
            await arun((*hooks.after_process_start, *hooks.after_worker_start), app)
            self._up.set()
            await self._over.wait()
            await arun((*hooks.before_process_stop, *hooks.before_worker_stop), app)
        await arun((*hooks.after_process_stop, *hooks.after_worker_stop), app)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Give the loop that runs in this thread, if there is one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
