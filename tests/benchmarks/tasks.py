"""The tasks that benchmarks run. Those that tell when they ran do so by CLOCK_MONOTONIC, in ns."""

from __future__ import annotations

import asyncio
import os
import time

from taskq import TaskQ

app = TaskQ("bench")

Stamp = tuple[int, int, int]
"""Start and end in ns of CLOCK_MONOTONIC, which all processes of a machine share, and the process."""


@app.task
def empty() -> None:
    """Do nothing, in a thread."""


@app.task
async def aempty() -> None:
    """Do nothing, on the loop."""


@app.task
def send(to: str, attempt: int, subject: str) -> None:
    """Do nothing with three arguments."""


@app.task
def swallow(data: bytes) -> int:
    """Take bytes."""
    return len(data)


@app.task
def stamp() -> Stamp:
    """Say when it started."""
    return _since(time.monotonic_ns())


@app.task
async def astamp() -> Stamp:
    """Say when it started."""
    return _since(time.monotonic_ns())


@app.task
def rest(seconds: float) -> Stamp:
    """Wait, in a thread."""
    started = time.monotonic_ns()
    time.sleep(seconds)
    return _since(started)


@app.task
async def arest(seconds: float) -> Stamp:
    """Wait, on the loop."""
    started = time.monotonic_ns()
    await asyncio.sleep(seconds)
    return _since(started)


@app.task
def compute(seconds: float) -> Stamp:
    """Keep the processor busy."""
    started = time.monotonic_ns()
    end = started + round(seconds * 1e9)
    while time.monotonic_ns() < end:
        pass
    return _since(started)


def _since(started: int) -> Stamp:
    return started, time.monotonic_ns(), os.getpid()
