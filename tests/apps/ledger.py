"""What tasks write down for the tests: one line an event, to a file outside of the server under test.

A line is `event id attempt pid nanoseconds [words]`, in one write with O_APPEND: lines of many processes do
not mix, and what a process has written stays when it is killed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from contextlib import contextmanager

from taskq import current_task

VARIABLE = "TASKQ_TEST_LEDGER"


def note(event: str, *words: object) -> None:
    """Write down an event of the task that runs here."""
    task = current_task()
    write(event, task.id, task.attempt, *words)


def write(event: str, id: str, attempt: int, *words: object) -> None:
    """Write down an event outside of a task."""
    parts = (event, id, attempt, os.getpid(), time.monotonic_ns(), *words)
    file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, (" ".join(map(str, parts)) + "\n").encode())
    finally:
        os.close(file)


@contextmanager
def noted(*words: object) -> Generator[None]:
    """Write down the start and the end of a run; one that is ended by an exception has `left` for its end."""
    note("start", *words)
    try:
        yield
    except BaseException as error:
        note("left", type(error).__name__)
        raise
    note("end")
