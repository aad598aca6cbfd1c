"""How late this machine's scheduler wakes a process: a run that was disturbed says nothing, whatever it shows.

A process of its own sleeps 10 ms again and again and counts by how much it overslept.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Generator
from types import TracebackType
from typing import Self

from tests.chaos.checker import percentile

LIMIT_S = 0.2
"""A run whose 99th percentile is over this is invalid."""

_SAMPLE = """
import select, sys, time
late = []
while True:
    began = time.monotonic()
    if select.select([sys.stdin], [], [], 0.01)[0]:
        break
    late.append(max(0.0, time.monotonic() - began - 0.01))
print(*late)
"""


class Sampler:
    """Samples for the body of a `with`; `p99_s` is there afterwards."""

    def __enter__(self) -> Self:
        self.p99_s = 0.0
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", _SAMPLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told, _ = self._process.communicate()
        self.p99_s = percentile([float(line) for line in told.split()], 0.99)

    @contextlib.contextmanager
    def stopped(self) -> Generator[None]:
        """Stop the sampling process for the body, as a machine does that has something else to do."""
        self._process.send_signal(signal.SIGSTOP)
        yield
        self._process.send_signal(signal.SIGCONT)

    @property
    def valid(self) -> bool:
        """Whether the run was not disturbed."""
        return self.p99_s <= LIMIT_S
