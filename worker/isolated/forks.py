"""The worker process's end: it has a fork server, asks it for forks, and hears how they ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

from taskq.worker.isolated.wire import ASK, END, NEVER, WORDS, Ask, End, Order, Why, Word, hear, read, say

_REAPED_S = 2.0
"""How long a server that was told to end may take for it."""

_LOOKS_EVERY_S = 0.005


class ServerLost(Exception):
    """Raised when the fork server is gone. `alone` says whether one fork ran when it went."""

    def __init__(self, alone: bool) -> None:
        super().__init__("the fork server is gone")
        self.alone = alone


class Fork:
    """One run, as its worker process sees it."""

    def __init__(self, number: int, line: socket.socket, leash: int) -> None:
        self.number = number
        self.settled = False
        """It has told its verdict, and is to end."""
        self._line, self._leash = line, leash
        self._ends: SimpleQueue[End | ServerLost] = SimpleQueue()

    def give(self, order: Order) -> None:
        """Say what it is to run. One that is gone already says so by its end."""
        with contextlib.suppress(OSError):
            say(self._line, order)

    def word(self) -> Word | None:
        """Wait for what it says next; None once it has ended."""
        return hear(self._line, WORDS)

    def end(self) -> End:
        """Wait for its end.

        Raises:
            ServerLost: nobody knows how it ended.
        """
        end = self._ends.get()
        if isinstance(end, ServerLost):
            raise end
        return end

    def ended(self, end: End | ServerLost) -> None:
        """Note how it ended. Called by the thread that hears the server."""
        self._ends.put(end)
        if isinstance(end, ServerLost) or end.errno:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)  # nobody else ends the line

    def close(self) -> None:
        """Let go of it: if it lives, it is killed."""
        self._line.close()
        if self._leash >= 0:
            os.close(self._leash)
            self._leash = -1


class Forks:
    """All runs of this process that have processes of their own. `pid` is the server's."""

    def __init__(self, control: socket.socket, pid: int) -> None:
        self._control, self._pid = control, pid
        self._forks: dict[int, Fork] = {}
        self._number = 0
        self._lock = threading.Lock()
        self._closing = False
        os.register_at_fork(after_in_child=self._let_go)

    def start(self, lost: Callable[[], object]) -> None:
        """Begin to hear the server; `lost` is called if it is gone before `stop`."""
        threading.Thread(target=self._listen, args=(lost,), name="taskq-forks", daemon=True).start()

    def make(
        self, soft_ms: int | None, hard_ms: int | None, kill_after_ms: int, max_memory: int | None
    ) -> Fork:
        """Have a fork made; its time runs from now on.

        Raises:
            OSError: no descriptors are left.
            ServerLost: there is no server any more.
        """
        line, theirs = socket.socketpair()
        try:
            held, leash = os.pipe()
        except OSError:
            line.close()
            theirs.close()
            raise
        with self._lock:
            self._number += 1
            fork = self._forks[self._number] = Fork(self._number, line, leash)
        ask = Ask(
            fork.number, 0, _or_never(soft_ms), _or_never(hard_ms), kill_after_ms, _or_never(max_memory)
        )
        try:
            with theirs:
                while not self._sent(ask, [theirs.fileno(), held]):
                    time.sleep(_LOOKS_EVERY_S)
        except OSError as error:
            self.forget(fork)
            raise ServerLost(alone=False) from error
        finally:
            os.close(held)
        return fork

    def interrupt(self, fork: Fork, why: Why, kill_after_ms: int) -> None:
        """Have a fork look at `why`, and killed if it has not ended `kill_after_ms` later."""
        with contextlib.suppress(OSError):  # without a server there is no fork
            self._sent(Ask(fork.number, why, kill_after_ms=kill_after_ms), [])

    def _sent(self, ask: Ask, fds: list[int]) -> bool:
        """Ask the server; False if it stands still, and hundreds have asked before. It never waits: the engine asks."""
        with self._lock:
            try:
                socket.send_fds(self._control, [ASK.pack(*ask)], fds, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
        return True

    def forget(self, fork: Fork) -> None:
        """Let go of a fork whose end was heard."""
        with self._lock:
            self._forks.pop(fork.number, None)
        fork.close()

    def stop(self, until: float) -> None:
        """End the server, once those have ended that told their verdicts, `until` (monotonic) at the latest."""
        while time.monotonic() < until and any(fork.settled for fork in self._all()):
            time.sleep(_LOOKS_EVERY_S)
        self._closing = True
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + _REAPED_S
        while time.monotonic() < until and not self._is_reaped(os.WNOHANG):
            time.sleep(_LOOKS_EVERY_S)

    def _is_reaped(self, how: int) -> bool:
        if self._pid:
            with contextlib.suppress(ChildProcessError):  # a task has waited for any child there is
                if os.waitpid(self._pid, how)[0] == 0:
                    return False
            self._pid = 0
        return True

    def _all(self) -> list[Fork]:
        with self._lock:
            return [*self._forks.values()]

    def _listen(self, lost: Callable[[], object]) -> None:
        while (data := read(self._control, END.size)) is not None:
            end = End(*END.unpack(data))
            with self._lock:
                fork = self._forks.get(end.number)
            if fork is not None:
                fork.ended(end)
        if self._closing:
            return
        if self._pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(
                    self._pid, signal.SIGKILL
                )  # not waited for, so the pid is its own; should it live, it is of no use
            self._is_reaped(0)
        forks = self._all()
        for fork in forks:
            fork.ended(ServerLost(alone=len(forks) == 1))
        lost()

    def _let_go(self) -> None:
        """In a process that a task forks: what it held of ours would look as if we lived."""
        self._control.close()
        for fork in self._forks.values():
            fork.close()


def _or_never(limit: int | None) -> int:
    return NEVER if limit is None else limit
