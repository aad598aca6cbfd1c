"""One queue on a private server: its producer, its worker, the marks its tasks leave, the gauges read from outside."""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.benchmarks.peers.environments import environment, home
from tests.benchmarks.peers.settings import TASKQ, Peer, Phase
from tests.servers import RedisServer
from tests.support import wait_until
from tests.workers import ROOT

DRIVERS = Path(__file__).parent / "drivers"
START_S = 60
"""How long a producer or a worker may take to come up."""

ANSWER_S = 300
"""How long a producer may take for what it is asked."""


class Failed(Exception):
    """Raised when a queue does not do what it is asked; with what its processes said."""


@dataclass(frozen=True, slots=True)
class Gauges:
    """What was spent up to a moment, and how many tasks had run by then."""

    at: float
    ran: int
    worker_s: float
    redis_s: float
    commands: int

    def since(self, earlier: Gauges) -> Gauges:
        return Gauges(
            self.at - earlier.at,
            self.ran - earlier.ran,
            self.worker_s - earlier.worker_s,
            self.redis_s - earlier.redis_s,
            self.commands - earlier.commands,
        )


class Stage:
    """Within the `with`, a producer runs; workers run from `start` to `stop` or `kill`.

    Args:
        peer: the queue.
        server: an empty server.
        folder: where marks and output go.
        phase: which settings hold.
        processes: how many worker processes run.
        results: whether results are stored.
    """

    def __init__(
        self,
        peer: Peer,
        server: RedisServer,
        folder: Path,
        *,
        phase: Phase = "always",
        processes: int = 1,
        results: bool = True,
    ) -> None:
        self.peer, self.processes = peer, processes
        self._server, self._folder = server, folder
        folder.mkdir(parents=True)
        self._marks, self._output = folder / "marks", folder / "output"
        self._marks.touch()
        self._values = peer.values(phase, processes)
        # The programs of an environment, not what they are links to.
        python = Path(sys.executable) if peer is TASKQ else environment(peer.name)
        self._bin = python.parent
        self._workers: list[subprocess.Popen[bytes]] = []
        self._client = server.client()
        self._environ = {
            **{name: told for name, told in os.environ.items() if not name.startswith(("TASKQ_", "REDIS_"))},
            "PATH": f"{self._bin}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(DRIVERS), *([str(ROOT)] if peer is TASKQ else [])]),
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(home() / "bytecode"),
            "PEER_URL": server.url,
            "PEER_MARKS": str(self._marks),
            "PEER_RESULTS": str(int(results)),
            "PEER_SETTINGS": json.dumps(self._values),
        }

    def __enter__(self) -> Self:
        with self._output.open("ab") as output:
            self._producer = subprocess.Popen(
                [str(self._bin / "python"), str(DRIVERS / "produce.py"), f"with_{self.peer.name}"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output,
                cwd=self._folder, env=self._environ,
            )  # fmt: skip
        try:
            self._answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._producer.kill()
        self._producer.communicate()
        self._client.close()

    # -- the producer

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Have the producer do something, and give its answer.

        Raises:
            Failed: it ended.
        """
        assert self._producer.stdin is not None
        try:
            self._producer.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
            self._producer.stdin.flush()
        except BrokenPipeError:
            raise self._failure("the producer ended") from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._producer.stdout is not None
        too_long = threading.Timer(ANSWER_S, self._producer.kill)
        too_long.start()
        try:
            for line in self._producer.stdout:
                if line.startswith(b"{"):
                    answer: dict[str, Any] = json.loads(line)
                    return answer
        finally:
            too_long.cancel()
        raise self._failure(f"the producer ended, or took more than {ANSWER_S} s")

    # -- the worker

    def start(self) -> None:
        """Start the worker's processes, without waiting for them."""
        words = self.peer.words(str(self._bin), self._values, self.processes)
        for _ in range(self.processes if self.peer.copies else 1):
            with self._output.open("ab") as output:
                self._workers.append(
                    subprocess.Popen(
                        words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                        cwd=self._folder, env=self._environ, start_new_session=True,
                    )
                )  # fmt: skip

    def kill(self) -> None:
        """End the worker on the spot, with all its processes (SIGKILL)."""
        every = self._processes()
        for process in every:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for worker in self._workers:
            worker.wait()
        psutil.wait_procs(every, timeout=10)
        self._workers.clear()

    def _processes(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for worker in self._workers:
            try:
                parent = psutil.Process(worker.pid)
                found += [parent, *parent.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        return found

    def memory(self) -> int:
        """PSS of the worker's processes together, in bytes."""
        total = 0
        for process in self._processes():
            try:
                text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue  # RQ has a child a task
            found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
            assert found, "this system does not tell the PSS"
            total += int(found[1]) * 1024
        return total

    # -- marks and gauges

    def ran(self) -> int:
        """How many marks tasks have left."""
        return self._marks.stat().st_size // 8

    def marks(self) -> Sequence[int]:
        """What they are, in the order they were written."""
        data = self._marks.read_bytes()
        return struct.unpack(f"<{len(data) // 8}q", data)

    def wait(self, count: int, timeout: float) -> None:
        """Wait until there are `count` marks.

        Raises:
            Failed: the time is over, or the worker has ended.
        """
        deadline = time.monotonic() + timeout
        while self.ran() < count:
            if any(worker.poll() is not None for worker in self._workers):
                raise self._failure("the worker ended")
            if time.monotonic() > deadline:
                raise self._failure(f"{self.ran()} of {count} tasks ran within {timeout:g} s")
            time.sleep(0.002)

    def gauges(self) -> Gauges:
        """Read what has been spent so far."""
        cpu: dict[str, Any] = self._client.info("cpu")
        stats: dict[str, Any] = self._client.info("stats")
        worker_s = 0.0
        for process in self._processes():
            try:
                times = process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            # Those of children count once they have ended: RQ has a child a task.
            worker_s += times.user + times.system + times.children_user + times.children_system
        redis_s = float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])
        return Gauges(time.monotonic(), self.ran(), worker_s, redis_s, int(stats["total_commands_processed"]))

    def used_memory(self) -> int:
        """What the server says it uses, in bytes."""
        memory: dict[str, Any] = self._client.info("memory")
        return int(memory["used_memory"])

    def settle(self) -> None:
        """Wait until the server has next to nothing to do: the last tasks are acknowledged."""

        def quiet() -> bool:
            before = self.gauges()
            time.sleep(0.1)
            return self.gauges().since(before).commands < 50

        wait_until(quiet, START_S, "the server to be quiet")

    def _failure(self, what: str) -> Failed:
        said = self._output.read_text(errors="replace")[-4_000:]
        return Failed(f"{self.peer.title}: {what}\n{said}")


@contextlib.contextmanager
def private_server(folder: Path) -> Generator[RedisServer]:
    """A server for one queue, AOF everysec."""
    server = RedisServer("redis", folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
