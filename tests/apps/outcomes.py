"""Tasks that end in every way there is, each sync and async (with an `a` in front)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskq import Reject, Retry, RetryPolicy, TaskQ, current_task
from tests.apps.ledger import note

app = TaskQ("tests")

AT_ONCE = RetryPolicy(max_retries=3, delay=0.02, factor=1, jitter=False)
SLOWER = RetryPolicy(max_retries=4, delay=0.1, factor=2, cap=0.3, jitter=False)


class Fickle(Exception):
    """What is worth another try."""


class Busy(Exception):
    """What an HTTP client raises that was told to come later."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"busy for {seconds} s")
        self.retry_after = seconds


@dataclass
class Point:
    """An annotated argument."""

    x: int
    y: int


def fail_until(attempt: int, error: BaseException) -> int:
    """Raise in attempts before the given one, and give the attempt that was let through."""
    note("start")
    now = current_task().attempt
    if now < attempt:
        raise error
    return now


@app.task
def echo(value: Any) -> Any:
    note("start")
    return value


@app.task
async def aecho(value: Any) -> Any:
    note("start")
    return value


@app.task
def move(point: Point, by: int = 1) -> Point:
    note("start")
    return Point(point.x + by, point.y + by)


@app.task
async def amove(point: Point, by: int = 1) -> Point:
    note("start")
    return Point(point.x + by, point.y + by)


@app.task(retry=AT_ONCE)
def fail(until: int, text: str = "not yet") -> int:
    return fail_until(until, ValueError(text))


@app.task(retry=AT_ONCE)
async def afail(until: int, text: str = "not yet") -> int:
    return fail_until(until, ValueError(text))


@app.task(retry=SLOWER)
def back_off(until: int) -> int:
    return fail_until(until, Fickle())


@app.task(retry=SLOWER)
async def aback_off(until: int) -> int:
    return fail_until(until, Fickle())


@app.task
def again(until: int, delay: float) -> int:
    return fail_until(until, Retry(delay))


@app.task
async def aagain(until: int, delay: float) -> int:
    return fail_until(until, Retry(delay))


@app.task
def busy(until: int, seconds: float) -> int:
    return fail_until(until, Busy(seconds))


@app.task
async def abusy(until: int, seconds: float) -> int:
    return fail_until(until, Busy(seconds))


@app.task(retry=AT_ONCE)
def reject() -> None:
    note("start")
    raise Reject("this address is no address")


@app.task(retry=AT_ONCE)
async def areject() -> None:
    note("start")
    raise Reject("this address is no address")


@app.task(retry=AT_ONCE, retry_for=Fickle)
def only_fickle(error: str) -> int:
    return fail_until(2, Fickle() if error == "fickle" else KeyError(error))


@app.task(retry=AT_ONCE, retry_for=Fickle)
async def aonly_fickle(error: str) -> int:
    return fail_until(2, Fickle() if error == "fickle" else KeyError(error))


@app.task(retry=AT_ONCE, no_retry_for=(KeyError, ZeroDivisionError))
def never_key(error: str) -> int:
    return fail_until(2, KeyError(error) if error == "key" else Fickle())


@app.task(retry=AT_ONCE, no_retry_for=(KeyError, ZeroDivisionError))
async def anever_key(error: str) -> int:
    return fail_until(2, KeyError(error) if error == "key" else Fickle())


@app.task(retry=AT_ONCE)
def unspeakable() -> object:
    note("start")
    return {"rows": [1, object()]}


@app.task(retry=AT_ONCE)
async def aunspeakable() -> object:
    note("start")
    return {"rows": [1, object()]}


@app.task(max_retries=0)
def leave(how: str) -> None:
    note("start")
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "generator": GeneratorExit()}[how]


@app.task(max_retries=0)
async def aleave(how: str) -> None:
    note("start")
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "generator": GeneratorExit()}[how]


class Mute(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@app.task(max_retries=0)
def mute() -> None:
    raise Mute


@app.task(max_retries=0)
def deep(levels: int) -> None:
    """Raise from far down: the traceback is long."""

    def down(left: int) -> None:
        if left:
            down(left - 1)
        raise ValueError("x" * 50_000)

    down(levels)
