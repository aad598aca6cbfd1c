"""A place of its own for a command: no settings of the user's, a directory, and an orderly end."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

LOCK = "trial.lock"
"""The file in the directory that the command keeps locked while it lives."""

_KEPT = {"TASKQ_REDIS_SERVER", "TASKQ_START_METHOD", "TASKQ_DEBUG"}


@contextmanager
def own_environment(*kept: str) -> Generator[None]:
    """Keep what is set for the user's own apps, all but `kept`, from the command's app, here and in children."""
    before = dict(os.environ)
    for name in before:
        if name == "REDIS_URL" or (name.startswith("TASKQ_") and name not in _KEPT.union(kept)):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def own_directory(command: str) -> Generator[Path]:
    """Make a directory, locked, and remove it with all that is in it."""
    directory = Path(tempfile.mkdtemp(prefix=f"taskq-{command}-"))
    try:
        with (directory / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield directory
    finally:
        with unhurried():
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def orderly_end() -> Generator[None]:
    """Leave by the way of all `finally` when told to end, as by `timeout` or a terminal that closes."""

    def leave(number: int, _: FrameType | None) -> None:
        for other in signals:
            signal.signal(other, signal.SIG_IGN)  # the way out is short: it is not to be left half-way
        sys.exit(128 + number)

    signals = (signal.SIGTERM, signal.SIGHUP)
    with _handling(signals, leave):
        yield


@contextmanager
def unhurried() -> Generator[None]:
    """Let no second Ctrl-C, or the like, break off what puts things in order; that has to end by itself."""
    with _handling((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN):
        yield


@contextmanager
def _handling(signals: Sequence[signal.Signals], handler: Any) -> Generator[None]:
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
