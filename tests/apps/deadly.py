"""Tasks that take their process with them, and others that happen to run beside them."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time

from taskq import RetryPolicy, TaskQ, current_task
from tests.apps.ledger import note, noted

app = TaskQ("tests")


@app.task
def work(seconds: float) -> int:
    with noted():
        time.sleep(seconds)
        return current_task().attempt


@app.task
def hold(before: float, seconds: float) -> None:
    """It sleeps, and then lets nothing else in its process run, as some C code does."""
    with noted():
        time.sleep(before)
        ctypes.PyDLL(None).usleep(round(seconds * 1e6))


@app.task
async def awork(seconds: float) -> int:
    with noted():
        await asyncio.sleep(seconds)
        return current_task().attempt


@app.task(max_crashes=3)
def poison(how: str, seconds: float = 0.0) -> None:
    note("start")
    time.sleep(seconds)
    die(how)


@app.task(max_crashes=3)
async def apoison(how: str, seconds: float = 0.0) -> None:
    note("start")
    await asyncio.sleep(seconds)
    die(how)


@app.task(max_crashes=2)
def poison_once(how: str) -> int:
    """It kills its first process only."""
    note("start")
    if current_task().attempt == 1:
        die(how)
    return current_task().attempt


@app.task(retry=RetryPolicy(max_retries=2, delay=0.02, factor=1, jitter=False), max_crashes=2)
def fail_then_die() -> int:
    """It fails twice, then kills a process, then succeeds: failures and crashes count apart."""
    note("start")
    attempt = current_task().attempt
    if attempt <= 2:
        raise ValueError("a failure")
    if attempt == 3:
        die("exit")
    return attempt


@app.task
def hush() -> int:
    """It closes what its process prints to; gives that process."""
    sys.stdout.close()
    return os.getpid()


def die(how: str) -> None:
    """End the process at once, in one of the ways there are."""
    if how == "exit":
        os._exit(7)
    elif how == "clean":
        os._exit(0)
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "segv":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    raise AssertionError(f"{how} did not end the process")
