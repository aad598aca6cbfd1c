"""Which runs began and which ended, noted by the tasks themselves in a file: the demo's own witness.

What the server says of redelivery is what is to be shown, so it cannot be the proof. Each start and each end
is a line, one write to a file opened for appending, which survives the process that wrote it.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from taskq import TaskContext

_NAME = "ledger"


class Ledger:
    """The file as a worker process writes it."""

    def __init__(self, directory: Path) -> None:
        self._file = os.open(directory / _NAME, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    @contextmanager
    def run(self, context: TaskContext) -> Generator[None]:
        """Note the start, and the end however it comes; only the death of the process leaves it out."""
        self._write(f"start {context.fence} {os.getpid()} {context.failures} {context.id}")
        try:
            yield
        finally:
            self._write(f"end {context.fence}")

    def _write(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())


@dataclass(slots=True)
class Run:
    """One start of a task. `fence` is its generation: no other run has it."""

    id: str
    fence: int
    pid: int
    failures: int
    ended: bool = False


def read_runs(directory: Path) -> list[Run]:
    """Give all runs so far, in the order of their starts."""
    path = directory / _NAME
    if not path.exists():
        return []
    runs: dict[int, Run] = {}
    *lines, _ = path.read_text().split("\n")  # what follows the last line's end is half a line
    for line in lines:
        match line.split():
            case ["start", fence, pid, failures, id]:
                runs[int(fence)] = Run(id, int(fence), int(pid), int(failures))
            case ["end", fence]:
                runs[int(fence)].ended = True
            case _:
                raise ValueError(f"{path} has a line that no task wrote: {line!r}")
    return list(runs.values())
