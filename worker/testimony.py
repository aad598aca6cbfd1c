"""What a child runs, noted where its supervisor can still read it after the child is dead.

A page of shared memory, one a child, of aligned 8-byte words: a single store each, so that no reader sees half
of one and no lock is needed. Times are CLOCK_MONOTONIC in ms, which all processes of a machine share.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import time
from dataclasses import dataclass

_SUPERVISOR, _ENGINE, _REVOKED, _DONE, _SLOTS = 0, 1, 2, 3, 8


def monotonic_ms() -> int:
    """CLOCK_MONOTONIC in ms."""
    return time.monotonic_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Running:
    """What one slot runs: the generation, and the instant from which its process may be killed for it, 0 for never.

    What runs `apart`, in a process of its own, cannot have been what this one died of.
    """

    g: int
    kill_at_ms: int
    apart: bool = False


class Unread:
    """In place of a testimony where one run has the process to itself: nobody reads it, and it is nobody else's."""

    def __init__(self, slots: int) -> None:
        self.words = [0] * (2 * slots)

    def word_of(self, slot: int) -> int:
        """The index in `words` of a slot's g; its kill time stands right behind."""
        return 2 * slot

    def revoked(self) -> int:
        """Nothing is."""
        return 0


class Testimony:
    """The shared page of one child. The child writes its slots and its own stamp, the supervisor the rest.

    The last `apart` of the `slots` are of what runs in processes of its own.
    """

    def __init__(self, slots: int, fd: int | None = None, apart: int = 0) -> None:
        self.slots = slots
        self._apart_from = _SLOTS + 2 * (slots - apart)
        size = (_SLOTS + 2 * slots) * 8
        if fd is None:
            with tempfile.TemporaryFile() as file:  # has a descriptor, which an executed child can be given
                file.truncate(size)
                fd = os.dup(file.fileno())
        self.fd = fd
        self._map = mmap.mmap(fd, size)
        self.words = memoryview(self._map).cast("Q")

    # -- the child's side; the runners write `words` themselves, for each store is on the way of every task

    def word_of(self, slot: int) -> int:
        """The index in `words` of a slot's g; its kill time stands right behind."""
        return _SLOTS + 2 * slot

    def stamp(self, done: int) -> None:
        """The child's engine lives, and has settled `done` tasks."""
        self.words[_ENGINE] = monotonic_ms()
        self.words[_DONE] = done

    def supervisor_silent_ms(self) -> int:
        """How long the supervisor has not beaten."""
        return monotonic_ms() - self.words[_SUPERVISOR]

    def revoked(self) -> int:
        """How often the supervisor has returned what this child had not started."""
        return self.words[_REVOKED]

    # -- the supervisor's side

    def beat(self) -> None:
        """The supervisor lives."""
        self.words[_SUPERVISOR] = monotonic_ms()

    def revoke(self) -> None:
        """Bar the child from starting what it holds: the supervisor returns it."""
        self.words[_REVOKED] += 1

    def engine_silent_ms(self) -> int:
        """How long the child's engine has not turned; it turns at least once a beat."""
        return monotonic_ms() - self.words[_ENGINE]

    def done(self) -> int:
        """How many tasks the child has settled."""
        return self.words[_DONE]

    def running(self) -> list[Running]:
        """What the child runs, or ran when it died."""
        words = self.words
        return [
            Running(words[at], words[at + 1], at >= self._apart_from)
            for at in range(_SLOTS, _SLOTS + 2 * self.slots, 2)
            if words[at]
        ]

    def close(self) -> None:
        """Unmap the page."""
        self.words.release()
        self._map.close()
        os.close(self.fd)
