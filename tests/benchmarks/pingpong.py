"""The bare way of a message between two processes over Redis: what an idle start is held against.

python -m tests.benchmarks.pingpong URL answers each push to `ping` by a push to `pong`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from types import TracebackType
from typing import Self

from tests.benchmarks.ceiling import RawLink
from tests.workers import ROOT


class PingPong:
    """A process that blocks on a list, and one that pushes to it: this one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._link = RawLink(url)

    def __enter__(self) -> Self:
        self._partner = subprocess.Popen([sys.executable, "-m", __name__, self._url], cwd=ROOT)
        self.trip()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._partner.terminate()
        self._partner.wait(10)
        self._link.close()

    def trip(self) -> tuple[float, float]:
        """Give the µs of one way, and there and back."""
        began = time.monotonic_ns()
        self._link.send(("RPUSH", "ping", b"x"))
        self._link.read()
        self._link.send(("BLPOP", "pong", 10))
        reply = self._link.read()
        ended = time.monotonic_ns()
        assert isinstance(reply, list), "the partner does not answer"
        return (int(reply[1]) - began) / 1_000, (ended - began) / 1_000


def _answer(url: str) -> None:
    link = RawLink(url)
    while True:
        link.send(("BLPOP", "ping", 0))
        link.read()
        link.send(("RPUSH", "pong", time.monotonic_ns()))
        link.read()


if __name__ == "__main__":
    _answer(sys.argv[1])
