"""What is read before and after a stretch of work: of the server, of worker processes, of this program."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from taskq.broker.client import Broker
from taskq.broker.command import text
from taskq.broker.commands.reading import read


class Reading(NamedTuple):
    """All gauges at one moment. CPU is in seconds since some beginning."""

    at_s: float
    own_cpu_s: float
    redis_cpu_s: float
    redis_script_us: float
    worker_cpu_s: float | None
    worker_wait_s: float | None
    """How long the processes' threads were ready to run and had no processor."""
    redis_wait_s: float | None
    memory_bytes: int
    late_fsyncs: int


class Gauges:
    """Reads them."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.pids: Sequence[int] = ()
        """The worker whose processor time counts: its supervisor, then its processes."""
        self.redis_here = False
        """The server runs on this machine."""

    def read(self) -> Reading:
        """Read all."""
        info = self.info("everything")
        scripts = dict(part.split("=") for part in info.get("cmdstat_evalsha", "usec=0").split(","))
        clients = int(info.get("mem_clients_normal", 0)) + int(info.get("mem_aof_buffer", 0))
        return Reading(
            at_s=time.perf_counter(),
            own_cpu_s=time.process_time(),
            redis_cpu_s=_redis_cpu(info),
            redis_script_us=float(scripts["usec"]),
            worker_cpu_s=_sum([cpu_seconds(pid) for pid in self.pids]),
            worker_wait_s=_sum([_wait_seconds(f"{pid}/task/*") for pid in self.pids[1:]]),
            redis_wait_s=_redis_wait(int(info.get("process_id", 0))) if self.redis_here else None,
            memory_bytes=int(info["used_memory"]) - clients,
            late_fsyncs=int(info.get("aof_delayed_fsync", 0)),
        )

    def info(self, *sections: str) -> dict[str, str]:
        """Read what INFO says."""
        reply = text(self._broker.call(read(self._broker.keys[0], "INFO", *sections)))
        pairs = (line.partition(":") for line in reply.splitlines() if not line.startswith("#"))
        return {name: value for name, colon, value in pairs if colon}


def _redis_cpu(info: dict[str, str]) -> float:
    # The thread that runs commands, where the system tells threads apart.
    names = ("used_cpu_user_main_thread", "used_cpu_sys_main_thread")
    if names[0] not in info:
        names = ("used_cpu_user", "used_cpu_sys")
    return sum(float(info[name]) for name in names)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def cpu_seconds(pid: int) -> float | None:
    """The processor time a process has used; None where that cannot be read, or it is gone."""
    try:
        # The name, second of the fields, may have anything in it but ends with the last parenthesis.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return _cpu_by_psutil(pid)


def _cpu_by_psutil(pid: int) -> float | None:
    try:
        import psutil

        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    except Exception:  # noqa: BLE001 - not installed, or the process is gone
        return None


def _redis_wait(pid: int) -> float | None:
    try:
        name = Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return None
    # In a container a server has another number, which here may be anyone's.
    return _wait_seconds(str(pid)) if "redis" in name or "valkey" in name else None


def _wait_seconds(threads: str) -> float | None:
    """How long threads were ready to run and had no processor: the second figure of Linux's schedstat."""
    try:
        told = [path.read_text().split() for path in Path("/proc").glob(f"{threads}/schedstat")]
        return sum(int(waited) for _, waited, _ in told) / 1e9 if told else None
    except (OSError, ValueError):
        return None
