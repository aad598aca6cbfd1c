"""Tasks that are to be stopped from outside: by their timeouts, or because somebody cancels them."""

from __future__ import annotations

import asyncio
import time

from taskq import RetryPolicy, SoftTimeout, TaskQ
from tests.apps.ledger import note, noted

app = TaskQ("tests")

AT_ONCE = RetryPolicy(max_retries=1, delay=0.02, factor=1, jitter=False)


def spin(seconds: float) -> None:
    """Run Python code for a while: an exception can strike at any of it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.005)


@app.task
def nap(seconds: float) -> float:
    """Sleep in C code: an exception strikes only once it is over."""
    with noted():
        time.sleep(seconds)
        return seconds


@app.task
async def anap(seconds: float) -> float:
    with noted():
        await asyncio.sleep(seconds)
        return seconds


@app.task
def turn(seconds: float) -> float:
    with noted():
        spin(seconds)
        return seconds


@app.task(soft_timeout=0.3, timeout=20, max_retries=0)
def soft(catch: bool) -> str:
    with noted():
        try:
            spin(10)
        except SoftTimeout:
            note("soft")
            if not catch:
                raise
            spin(0.2)
        return "cleaned up"


@app.task(soft_timeout=0.3, timeout=20, max_retries=0)
async def asoft(catch: bool) -> str:
    with noted():
        try:
            await asyncio.sleep(10)
        except SoftTimeout:
            note("soft")
            if not catch:
                raise
            await asyncio.sleep(0.2)  # it goes on undisturbed
            async with asyncio.timeout(5):
                await asyncio.sleep(0)
        return "cleaned up"


@app.task(soft_timeout=0.3, timeout=20, ack="early")
def early_soft() -> None:
    with noted():
        try:
            spin(3)
        except SoftTimeout:
            note("soft")


@app.task(soft_timeout=0.3, timeout=1, max_retries=0)
def soft_then_hard() -> None:
    with noted():
        try:
            spin(10)
        except SoftTimeout:
            note("soft")
            spin(10)


@app.task(soft_timeout=0.3, timeout=1, max_retries=0)
async def asoft_then_hard() -> None:
    with noted():
        try:
            await asyncio.sleep(10)
        except SoftTimeout:
            note("soft")
            await asyncio.sleep(10)


@app.task(timeout=0.5, retry=AT_ONCE)
def hard() -> None:
    with noted():
        try:
            spin(10)
        except Exception:  # noqa: BLE001 - a task that swallows what it can
            note("swallowed")


@app.task(timeout=0.5, retry=AT_ONCE)
async def ahard() -> None:
    with noted():
        try:
            await asyncio.sleep(10)
        except Exception:  # noqa: BLE001 - as above
            note("swallowed")


@app.task(timeout=0.5, max_crashes=1)
def wedged() -> None:
    with noted():
        time.sleep(60)


@app.task(timeout=0.5, max_crashes=1)
async def awedged() -> None:
    with noted():
        time.sleep(60)  # noqa: ASYNC251 - a program's mistake: the whole loop stands still


@app.task(timeout=0.5, max_crashes=1)
async def stubborn() -> None:
    with noted():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                note("swallowed")


@app.task(timeout=0.3, max_retries=0)
async def brief(seconds: float) -> float:
    with noted():
        await asyncio.sleep(seconds)
        return seconds


@app.task(timeout=None)
def endless(seconds: float) -> float:
    with noted():
        spin(seconds)
        return seconds


@app.task(timeout=None)
async def aendless(seconds: float) -> float:
    with noted():
        await asyncio.sleep(seconds)
        return seconds


@app.task
def swallow() -> str:
    with noted():
        try:
            spin(30)
        except BaseException as error:  # noqa: BLE001 - this is the point
            note("swallowed", type(error).__name__)
        return "would not stop"


@app.task
async def aswallow() -> str:
    with noted():
        try:
            await asyncio.sleep(30)
        except BaseException as error:  # noqa: BLE001 - this is the point
            note("swallowed", type(error).__name__)
        return "would not stop"


@app.task
def fail_when_cancelled() -> None:
    with noted():
        try:
            spin(30)
        except BaseException as error:
            raise ValueError("while cleaning up") from error


@app.task
async def afail_when_cancelled() -> None:
    with noted():
        try:
            await asyncio.sleep(30)
        except BaseException as error:
            raise ValueError("while cleaning up") from error


@app.task
async def cancels_itself() -> None:
    """Await what somebody else cancels: that is a failure, not a cancel of the task."""
    with noted():
        inner = asyncio.ensure_future(asyncio.sleep(30))
        inner.cancel()
        await inner
