"""What the kernel is told of a fork: whom it is not to outlive, how much it may allocate, and that it goes first."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal
from collections.abc import Callable
from pathlib import Path

_SCORE = Path("/proc/self/oom_score_adj")
_MORE_LIKELY = 500
"""Added to what makes the kernel choose a process when memory runs out: of -1000 to 1000."""


def tie(leash: int) -> None:
    """Have this process killed once the other end of a pipe is closed, whatever it does then. On Linux only.

    A pipe whose reader asked for it sends a signal when its last writer is gone (fcntl(2), F_SETSIG). Unlike
    PR_SET_PDEATHSIG, it depends on no thread, and on nobody who has to notice.
    """
    if not hasattr(fcntl, "F_SETSIG"):
        return
    fcntl.fcntl(leash, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(leash, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(leash, fcntl.F_SETFL, fcntl.fcntl(leash, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([leash], [], [], 0)[0]:  # it was closed before
        os.kill(os.getpid(), signal.SIGKILL)


def prefer() -> None:
    """Have the kernel kill this process, and not one above it, when memory runs out."""
    with contextlib.suppress(OSError, ValueError):
        _SCORE.write_text(str(min(1_000, int(_SCORE.read_text()) + _MORE_LIKELY)))


def limit_memory(more: int) -> Callable[[], None]:
    """Bound what this process allocates from now on, in bytes; beyond it, `MemoryError` is raised. On Linux only.

    Counted is what is private and writable (RLIMIT_DATA; getrlimit(2)), not the whole address space: that would count
    what a thread's arena and a library only reserve. Gives what lifts the bound, so that what became of the run can be
    told.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[5])
    except (OSError, ValueError, IndexError):
        return _nothing
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bound = pages * resource.getpagesize() + more
    if hard != resource.RLIM_INFINITY:
        bound = min(bound, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    return lambda: resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _nothing() -> None:
    """No bound is there to lift."""
