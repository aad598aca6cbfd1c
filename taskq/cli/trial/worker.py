"""A command's own `taskq worker`: a process of its own, its log in the command's directory."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import taskq
from taskq.broker.client import Broker
from taskq.cli.trial.environment import unhurried
from taskq.cli.trial.guard import DIRECTORY
from taskq.errors import TaskqError
from taskq.inspector.processes import processes as list_processes

_READY_WITHIN_S = 30.0
_LAST_WORDS = 20


class WorkerFailed(TaskqError):
    """Raised when the worker ends by itself, or does nothing."""


class Worker:
    """Starts, watches and stops the worker."""

    def __init__(self, directory: Path, app: str, processes: int, *options: str) -> None:
        self._processes = processes
        self._log = directory / "worker.log"
        command = [sys.executable, "-m", "taskq", "worker", app]
        command += ["--processes", str(processes), "--grace", "5s", *options]
        with self._log.open("wb") as log:
            # A session of its own: a terminal's Ctrl-C is for the command, which stops the worker then.
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                env={**os.environ, **_import_path(), DIRECTORY: str(directory)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    def wait_until_ready(self, broker: Broker) -> None:
        """Return once all processes have registered.

        Raises:
            WorkerFailed: they do not.
        """
        deadline = time.monotonic() + _READY_WITHIN_S
        while len(broker.run(list_processes(broker.keys))) < self._processes:
            self.check()
            if time.monotonic() > deadline:
                raise WorkerFailed(f"the worker is not ready after {_READY_WITHIN_S:g} s")
            time.sleep(0.02)

    def check(self) -> None:
        """Look whether it lives.

        Raises:
            WorkerFailed: it does not.
        """
        code = self._process.poll()
        if code is not None:
            raise WorkerFailed(f"the worker has ended by itself, with exit code {code}")

    def last_words(self) -> list[str]:
        """Give the last lines of its log."""
        return self._log.read_text(errors="replace").splitlines()[-_LAST_WORDS:]

    def stop(self) -> None:
        """End it, at the latest by force, and wait for that: what it wrote to may be removed afterwards."""
        with unhurried():
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


def _import_path() -> dict[str, str]:
    """Let the worker find taskq where this process did, and nothing by chance in some current directory."""
    home = str(Path(taskq.__file__).parents[1])
    found = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if home not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        found.append(home)
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(map(os.path.abspath, found))}
