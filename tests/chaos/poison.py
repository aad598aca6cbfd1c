"""Ways for a task to take its process along, or all that is on its host."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path

_ROOM, _CHUNK = 64 << 20, 1 << 20
_HELD_S = 0.2


def leave() -> None:
    """End the process without a word."""
    os._exit(7)


def crash() -> None:
    """Read at address 0."""
    ctypes.string_at(0)


def kill() -> None:
    """End the process as the kernel does when memory is short."""
    os.kill(os.getpid(), signal.SIGKILL)


def swell() -> None:
    """Take all the memory that the process may have, under a limit near at hand, and hold it for a while.

    Whatever else runs in the process can have none meanwhile. The limit goes again with the error.
    """
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    old = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _ROOM, old[1]))
    held: list[bytearray] = []
    try:
        while True:
            held.append(bytearray(_CHUNK))
    except MemoryError:
        time.sleep(_HELD_S)
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def hang() -> None:
    """Stay in C code for ever, with the interpreter's lock: no exception reaches it, and no thread runs beside it."""
    while True:
        ctypes.PyDLL(None).sleep(1_000)


def raze() -> None:
    """End all of the host at once: the supervisor, its processes, this one."""
    os.killpg(0, signal.SIGKILL)


WAYS: dict[str, Callable[[], None]] = {
    function.__name__: function for function in (leave, crash, kill, swell, raze)
}
