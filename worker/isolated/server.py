"""The fork server: a process with one thread that forks the runs, keeps their time, and waits for them."""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from typing import NoReturn

from taskq.worker.isolated.wire import ASK, END, NEVER, Ask, End, Why
from taskq.worker.process import leave

log = logging.getLogger("taskq.worker")

INTERRUPT = signal.SIGURG
"""Tells a fork to look at why it is interrupted. By default it is ignored: to one that has just begun, or to a process
that a task forked, it does no harm."""

Run = Callable[[socket.socket, int, mmap.mmap, int], None]
"""What a fork does, with its line, its leash, the byte that says why it is interrupted, and how much memory it may
allocate."""


class _Fork:
    """One that runs."""

    def __init__(self, pid: int, line: socket.socket, reasons: mmap.mmap, ask: Ask) -> None:
        now = time.monotonic()
        self.pid, self.line, self.reasons, self.number = pid, line, reasons, ask.number
        self.soft_at = _at(now, ask.soft_ms)
        self.hard_at = _at(now, ask.hard_ms)
        self.kill_after_s = ask.kill_after_ms / 1_000
        self.kill_at = float("inf")
        self.dying_for = Why(0)
        """What it is to be killed for at `kill_at`."""
        self.killed_for = Why(0)

    def wakes_at(self) -> float:
        """When (monotonic) it has to be looked at."""
        return min(self.soft_at, self.hard_at, self.kill_at)

    def interrupt(self, why: Why, kill_at: float) -> None:
        """Have it look at why it is interrupted; it is killed for that at `kill_at`."""
        if why is not Why.SETTLED:
            self.reasons[0] |= why
            os.kill(self.pid, INTERRUPT)
        if kill_at < self.kill_at:
            self.kill_at, self.dying_for = kill_at, why

    def kill(self) -> None:
        """End it and what it has started. It was not waited for yet, so the pid is its own."""
        self.kill_at = float("inf")
        for kill in (os.kill, os.killpg):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.pid, signal.SIGKILL)

    def look(self, now: float) -> None:
        """Do what is due."""
        if now >= self.kill_at:
            self.killed_for = self.dying_for
            self.kill()
        elif now >= self.hard_at:
            self.hard_at = float("inf")
            self.interrupt(Why.HARD, now + self.kill_after_s)
        elif now >= self.soft_at:
            self.soft_at = float("inf")
            self.interrupt(Why.SOFT, float("inf"))


class ForkServer:
    """Serves one worker process, over `control`, until that is gone."""

    def __init__(self, control: socket.socket, run: Run) -> None:
        self._control, self._run = control, run
        self._forks: dict[int, _Fork] = {}
        self._untold = b""
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = os.pipe()
        for fd in (self._woken, self._waker):
            os.set_blocking(fd, False)
        control.setblocking(False)

    def serve(self) -> None:
        """Serve; what still runs at the end is killed."""
        signal.signal(signal.SIGCHLD, _nothing)  # only a handler of Python writes to the descriptor
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._drain)
        self._selector.register(self._control, selectors.EVENT_READ, self._hear)
        self._open = True
        while self._open:
            due = min((fork.wakes_at() for fork in self._forks.values()), default=float("inf"))
            timeout = None if due == float("inf") else max(0.0, due - time.monotonic())
            for key, _ in self._selector.select(timeout):
                key.data()
            self._bury()
            now = time.monotonic()
            for fork in self._forks.values():
                fork.look(now)
            self._tell()
        for fork in self._forks.values():
            fork.kill()
        for fork in self._forks.values():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(fork.pid, 0)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)

    # -- what is asked

    def _hear(self) -> None:
        while self._open:
            try:
                data, fds, _, _ = socket.recv_fds(self._control, ASK.size, 2)
            except BlockingIOError:
                break
            except OSError:
                data, fds = b"", []
            if len(data) < ASK.size:
                self._open = False
            else:
                self._do(Ask(*ASK.unpack(data)), fds)

    def _do(self, ask: Ask, fds: list[int]) -> None:
        if not ask.why:
            self._fork(ask, fds)
        elif fork := self._forks.get(ask.number):
            fork.interrupt(Why(ask.why), time.monotonic() + ask.kill_after_ms / 1_000)

    def _fork(self, ask: Ask, fds: list[int]) -> None:
        pid, reasons = -1, None
        try:
            if len(fds) < 2:
                raise OSError(errno.EMFILE, "no descriptors are left")  # noqa: TRY301 - the kernel dropped them
            for fd in fds:
                os.set_inheritable(fd, False)  # what a task executes must not hold them
            reasons = mmap.mmap(-1, 1)  # shared with the fork
            pid = os.fork()
        except OSError as error:
            self._untold += END.pack(*End(ask.number, errno=error.errno or -1))
            for fd in fds:
                os.close(fd)
            return
        line, leash = socket.socket(fileno=fds[0]), fds[1]
        if pid == 0:
            self._be_fork(line, leash, reasons, ask.max_memory)
        os.close(leash)
        with contextlib.suppress(OSError):  # it has done so itself, or is gone
            os.setpgid(pid, pid)
        self._forks[ask.number] = _Fork(pid, line, reasons, ask)

    def _be_fork(self, line: socket.socket, leash: int, reasons: mmap.mmap, max_memory: int) -> NoReturn:
        code = 70  # EX_SOFTWARE of sysexits.h
        try:
            os.setpgid(0, 0)  # a group of its own, so that what it starts can be killed along
            self._close_inherited()
            self._run(line, leash, reasons, max_memory)
            code = 0
        except BaseException:  # nobody above can: this is not their process
            log.exception("a process that ran a task has to end")
        finally:
            leave(code)

    def _close_inherited(self) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        self._control.close()
        os.close(self._woken)
        os.close(self._waker)
        for other in self._forks.values():
            other.line.close()
            other.reasons.close()

    # -- what is told

    def _bury(self) -> None:
        for fork in list(self._forks.values()):
            status = _status_of(fork)
            if status is None:
                continue
            code = os.waitstatus_to_exitcode(status)
            self._untold += END.pack(*End(fork.number, fork.pid, code, fork.killed_for))
            del self._forks[fork.number]
            fork.reasons.close()
            with contextlib.suppress(OSError):
                fork.line.shutdown(
                    socket.SHUT_RDWR
                )  # the end of the line, even if a process holds it that a task forked
            fork.line.close()

    def _tell(self) -> None:
        """Send what there is room for: a worker process that stands still must not hold us up."""
        try:
            while self._untold:
                self._untold = self._untold[self._control.send(self._untold) :]
        except BlockingIOError:
            pass
        except OSError:
            self._open = False
            return
        wants = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._untold else 0)
        self._selector.modify(self._control, wants, self._hear)


def _at(now: float, ms: int) -> float:
    return float("inf") if ms == NEVER else now + ms / 1_000


def _status_of(fork: _Fork) -> int | None:
    """Wait for a fork that has ended; None if it has not. Of one that was to end, or died, nothing stays behind."""
    if hasattr(os, "waitid"):  # macOS has it from Python 3.13 on
        seen = os.waitid(os.P_PID, fork.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        was_told = Why(fork.reasons[0]) & (Why.HARD | Why.CANCELLED)
        if seen is not None and (was_told or seen.si_code != os.CLD_EXITED or seen.si_status):
            fork.kill()  # the number of the group is its own until the fork is waited for
    pid, status = os.waitpid(fork.pid, os.WNOHANG)
    return status if pid else None


def _nothing(_number: int, _frame: object) -> None:
    """A handler, for a signal that is to wake and not to end."""
