"""Making children, and what the supervisor knows of each."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path

import msgspec

from taskq.worker.channel import Channel
from taskq.worker.config import WorkerConfig
from taskq.worker.process import leave
from taskq.worker.testimony import Testimony

_QUICK_S = 10.0


class Offspring:
    """One child as its supervisor sees it."""

    def __init__(self, pid: int, channel: Channel, testimony: Testimony) -> None:
        self.pid = pid
        self.channel = channel
        self.testimony = testimony
        self.process = ""
        """The name of its present life; empty until it is registered."""
        self.ready = False
        self.born = time.monotonic()
        self.stopping_until: float | None = None
        """Set once it was told to stop: the instant (monotonic) from which it is killed."""
        self.killed_for: frozenset[int] = frozenset()
        """The generations that it was killed for: their hard timeout was over."""
        self.given_up = False
        """True if it was killed by us for no fault of its tasks: nothing is charged."""
        self.successor: Offspring | None = None
        """Takes its place: once that one is ready, this one is stopped."""
        self.outdated = False
        """True if the code has changed since, and its replacement was not begun."""
        self.wedged = False

    @property
    def stays(self) -> bool:
        """True if it is neither told to stop nor about to be replaced."""
        return self.stopping_until is None and self.successor is None

    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self.born

    def was_quick(self) -> bool:
        """True if it ended so soon that another one would, too."""
        return self.age() < _QUICK_S

    def stop(self, grace_s: float, worker: bool = False) -> None:
        """Tell it to end; it is killed some time after the grace."""
        if self.stopping_until is None:
            deadline = time.monotonic() + grace_s  # of the clock that all processes of a machine share
            self.stopping_until = deadline + 3.0
            self.channel.send(kind="stop", deadline=deadline, worker=worker)

    def kill(self) -> None:
        """End it now. It is ours and was not waited for yet, so the pid is its own."""
        os.kill(self.pid, signal.SIGKILL)

    def memory(self) -> int:
        """Its resident memory in bytes; 0 where that cannot be read."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError, IndexError):
            return _memory_by_psutil(self.pid)

    def close(self) -> None:
        """Release what the parent holds of it."""
        self.channel.close()
        self.testimony.close()


def _memory_by_psutil(pid: int) -> int:
    try:
        import psutil

        return int(psutil.Process(pid).memory_info().rss)
    except Exception:  # noqa: BLE001 - not installed, or the process is gone
        return 0


def reap_adopted(own: Container[int]) -> None:
    """Wait for those that have ended and are not `own`: as process 1 of a container, we inherit what others leave.

    One of our own that has just ended hides the rest until it was waited for.
    """
    with contextlib.suppress(ChildProcessError):
        while seen := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if seen.si_pid in own:
                return
            os.waitpid(seen.si_pid, os.WNOHANG)


def how_it_ended(code: int) -> str:
    """Say in words how a child ended; `code` is negative for a signal."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by signal {signal.Signals(-code).name}"
    except ValueError:  # most real-time signals have no name
        return f"by signal {-code}"


def make_child(config: WorkerConfig, first: bool, close_inherited: Callable[[], None]) -> Offspring:
    """Make a child, by `fork` or by `exec`. `close_inherited` closes in a fork what only its parent needs."""
    from taskq.worker.child import run_child, slots_of

    ours, theirs = Channel.pair()
    testimony = Testimony(slots_of(config), apart=config.concurrency)
    testimony.beat()
    if config.start_method == "exec":
        pid = _execute(config, first, theirs, testimony)
    else:
        # A fork copies the calling thread only: a lock that another one holds would stay locked for ever.
        assert threading.active_count() == 1, "the supervisor has one thread"
        gc.collect()
        gc.freeze()  # what stands now is shared with the child, and not touched by its collector
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                signal.set_wakeup_fd(-1)
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(number, signal.SIG_DFL)
                ours.close()
                close_inherited()
                code = run_child(config, theirs, testimony, first)
            finally:
                leave(code)
        gc.unfreeze()
    theirs.close()
    return Offspring(pid, ours, testimony)


def _execute(config: WorkerConfig, first: bool, theirs: Channel, testimony: Testimony) -> int:
    given = msgspec.json.encode(
        {
            "config": msgspec.to_builtins(config),
            "channel": theirs.fileno(),
            "testimony": testimony.fd,
            "first": first,
        }
    )
    child = subprocess.Popen(
        [sys.executable, "-c", "from taskq.worker.child import main; main()"],
        stdin=subprocess.PIPE,
        pass_fds=(theirs.fileno(), testimony.fd),
    )
    assert child.stdin is not None
    child.stdin.write(given)
    child.stdin.close()
    child.returncode = 0  # the supervisor waits for it by its pid; Popen must not
    return child.pid
