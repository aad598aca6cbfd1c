"""One worker process is killed while it runs tasks, and what it ran is followed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

from taskq.cli.demo.ledger import Run, read_runs
from taskq.cli.trial.worker import WorkerFailed

_GONE_WITHIN_S = 10.0


class Killer:
    """Kills processes until one has died that ran tasks at that moment."""

    def __init__(self, directory: Path, most: int = 5) -> None:
        self._directory = directory
        self._most = most
        self.killed: list[int] = []
        """All that were killed, by process id."""
        self.interrupted: list[Run] = []
        """What the last of them ran when it died: begun and never ended."""

    @property
    def wanted(self) -> bool:
        """True while none has died at its work, and another one may be killed."""
        return not self.interrupted and len(self.killed) < self._most

    def strike(self) -> bool:
        """Kill the process that runs most now; True if it died at its work.

        It may have ended its tasks between our look and its death, so what it ran is read when it is dead.
        """
        busy = Counter(run.pid for run in self._open())
        if not busy:
            return False
        ((pid, _),) = busy.most_common(1)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            raise WorkerFailed(f"process {pid} has ended by itself while it ran tasks") from None
        _wait_until_gone(pid)
        self.killed.append(pid)
        self.interrupted = [run for run in self._open() if run.pid == pid]
        return bool(self.interrupted)

    def _open(self) -> list[Run]:
        return [run for run in read_runs(self._directory) if not run.ended]


def _wait_until_gone(pid: int) -> None:
    # Its parent, the supervisor, hears of its death at once and waits for it.
    deadline = time.monotonic() + _GONE_WITHIN_S
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        if time.monotonic() > deadline:
            raise WorkerFailed(f"process {pid} was killed, and after {_GONE_WITHIN_S:g} s it is still there")
        time.sleep(0.001)


def again_in(interrupted: Run, runs: list[Run]) -> int | None:
    """Give the process that started the task of this run next; None if none has."""
    return next((run.pid for run in runs if run.id == interrupted.id and run.fence > interrupted.fence), None)


def redelivered(runs: list[Run]) -> set[str]:
    """Give the ids of tasks that were started again without having failed."""
    starts = Counter((run.id, run.failures) for run in runs)
    return {id for (id, _), times in starts.items() if times > 1}
