"""What processes write down of a run, outside of the server under test: the only witness that counts.

Each process appends to a file of its own in the ledger's folder, one line an event, in one write with O_APPEND: what
was written stays when it is killed. A line is `ns pid event id attempt fence word`. `ns` is CLOCK_MONOTONIC, which
all processes of a machine share and no clock shim touches.

| event | by | means |
| --- | --- | --- |
| accept · unknown · reject | who enqueues | `enqueue` returned · raised `EnqueueUnknown` · raised something else |
| start · end | the task | `word` of an end is the exception that it left with, or `-` |
| commit · refused | the process | the server committed an outcome of kind `word` · said that the task is another's |
| kill · stop · back | the scenario | pid `attempt` was killed · stopped · is there again; `word` says what it is |

`word` of an accept is the instant (monotonic, ns) before which the task must not start, or `-`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

VARIABLE = "TASKQ_CHAOS_LEDGER"

_open: tuple[str, int] = ("", -1)
"""The file of this process, and its descriptor: a fork opens another one, and so does the next run."""


class Entry(NamedTuple):
    """One line."""

    ns: int
    pid: int
    event: str
    id: str
    attempt: int = 0
    fence: int = 0
    word: str = "-"

    @property
    def at(self) -> float:
        """When, in seconds of the monotonic clock."""
        return self.ns / 1e9


def write(event: str, id: str, attempt: int = 0, fence: int = 0, word: str = "-") -> None:
    """Write down an event of this process."""
    global _open
    pid = os.getpid()
    path = f"{os.environ[VARIABLE]}/{pid}"
    if _open[0] != path:
        _open = (path, os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC))
    line = f"{time.monotonic_ns()} {pid} {event} {id} {attempt} {fence} {word or '-'}\n"
    os.write(_open[1], line.encode())


@contextmanager
def noted() -> Generator[None]:
    """Write down the start and the end of the task that runs here."""
    from taskq import current_task

    task = current_task()
    write("start", task.id, task.attempt, task.fence)
    try:
        yield
    except BaseException as error:
        write("end", task.id, task.attempt, task.fence, type(error).__name__)
        raise
    write("end", task.id, task.attempt, task.fence)


class Follower:
    """Reads the ledger of a folder as it grows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}

    def news(self) -> list[Entry]:
        """Give what has come since the last call, in no order; a line that is half written comes next time."""
        found: list[Entry] = []
        for path in self._folder.iterdir():
            with path.open("rb") as file:
                file.seek(self._read.get(path.name, 0))
                data = file.read()
            whole = data.rfind(b"\n") + 1
            self._read[path.name] = self._read.get(path.name, 0) + whole
            found += parse(data[:whole].decode().splitlines())
        return found


def parse(lines: Iterable[str]) -> list[Entry]:
    """Read lines."""
    return [
        Entry(int(ns), int(pid), event, id, int(attempt), int(fence), word)
        for ns, pid, event, id, attempt, fence, word in map(str.split, lines)
    ]


def read(folder: Path) -> list[Entry]:
    """Give all that a folder has, in the order of time."""
    return sorted(Follower(folder).news())
