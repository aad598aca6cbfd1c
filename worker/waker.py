"""The waker: the end of a pipe that a thread waits on among others, and by which the other threads wake it."""

from __future__ import annotations

import contextlib
import os


class Waker:
    """One thread sets `asleep` before it waits on this file, clears it after, and drains; any thread wakes it.

    A wake-up that comes while nobody sleeps costs no write: who sets `asleep` looks once more for what it waits for.
    """

    def __init__(self) -> None:
        self.asleep = False
        """True while its thread waits, or is about to."""
        self._reader, self._writer = os.pipe()
        for fd in (self._reader, self._writer):
            os.set_blocking(fd, False)

    def fileno(self) -> int:
        """The descriptor that a selector waits on."""
        return self._reader

    def wake(self) -> None:
        """Wake the thread if it sleeps. Called from any thread."""
        if self.asleep:
            self.asleep = False
            with contextlib.suppress(BlockingIOError):  # full of wake-ups already
                os.write(self._writer, b"x")

    def drain(self) -> None:
        """Take the wake-ups off the pipe; it is readable."""
        os.read(self._reader, 4096)
