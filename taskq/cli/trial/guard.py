"""A worker ends with the command that started it, also when that is killed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TextIO

from taskq.cli.trial.environment import LOCK

DIRECTORY = "TASKQ_TRIAL_DIRECTORY"
"""The variable that tells worker processes where the command's files are."""


@asynccontextmanager
async def guarded() -> AsyncGenerator[Path]:
    """Give the directory, within the lifespan of an app; the worker is ended once the command is gone."""
    directory = Path(os.environ[DIRECTORY])
    with (directory / LOCK).open() as lock:
        guard = asyncio.create_task(_end_with_the_command(lock))
        try:
            yield directory
        finally:
            guard.cancel()


async def _end_with_the_command(lock: TextIO) -> None:
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            break
        await asyncio.sleep(0.5)
    os.kill(os.getppid(), signal.SIGTERM)
