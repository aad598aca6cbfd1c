"""What a worker is told, parsed at the edge and frozen from then on."""

from __future__ import annotations

import os
import sys

import msgspec

from taskq.errors import ConfigurationError
from taskq.names import check_name


class WorkerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one `taskq worker` runs. Times are milliseconds where the name says so."""

    app: str
    """`MODULE:ATTRIBUTE` of the `TaskQ`; only the children import it."""
    app_dir: str = "."
    """Put first on `sys.path` before the app is imported."""
    url: str | None = None
    """The server; None leaves it to the app and the environment."""
    namespace: str | None = None
    """None leaves it to the app."""
    queues: tuple[str, ...] = ()
    """In this order; none: those that the app's tasks declare, and `default`."""
    weights: tuple[int, ...] = ()
    """Beside `queues`: how often each is a claim's first queue. None: strictly in order."""
    processes: int = 1
    """Children at once."""
    max_processes: int = 0
    """Autoscale up to this many, `processes` being the least; 0: no autoscale."""
    concurrency: int = 8
    """Tasks that run at once in one child."""
    lease_ms: int | None = None
    """The visibility timeout; None leaves it to the app (30 s). Beats extend it."""
    grace_ms: int = 30_000
    """How long running tasks may go on once the worker was told to stop; then they are given back."""
    kill_after_ms: int = 3_000
    """How long a task may outlive its timeout, or with a process of its own its cancellation, before it is killed."""
    max_tasks: int = 0
    """Replace a child after this many tasks; 0: never."""
    max_memory: int = 0
    """Replace a child whose resident memory, in bytes, is over this; 0: never."""
    max_age_ms: int = 0
    """Replace a child after this time; 0: never."""
    burst: bool = False
    """End when the queues are empty."""
    reload: bool = False
    """Replace the children when a .py file below `app_dir` changes."""
    health: str | None = None
    """`HOST:PORT` for /livez and /readyz; None: off."""
    log_level: str = "INFO"
    """The level of the `taskq` loggers; of all, where the app sets up no logging."""
    log_json: bool = False
    """One JSON object a line in place of text."""
    log_tasks: bool = False
    """A line a task in place of one a batch; it costs three quarters of the speed of empty tasks."""
    name: str = ""
    """What `taskq workers` shows; by default host and process id."""
    start_method: str = "exec" if sys.platform == "darwin" else "fork"
    """How children are made: `fork`, or `exec` where forking is not safe (macOS)."""

    def __post_init__(self) -> None:
        for queue in self.queues:
            check_name("the queue", queue)
        lowest = {"processes": 1, "concurrency": 1, "max_tasks": 0, "max_memory": 0, "kill_after_ms": 0}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must be {low} or more")
        if self.concurrency > 1_000:
            raise ConfigurationError(
                f"concurrency is {self.concurrency}; 1000 is the most, use more processes"
            )
        if self.lease_ms is not None and self.lease_ms < 500:
            raise ConfigurationError(f"lease is {self.lease_ms} ms; it must be 500 ms or more")
        if self.weights and (len(self.weights) != len(self.queues) or min(self.weights) < 1):
            raise ConfigurationError("with weights, every queue needs one of 1 or more: -Q mail=3,default=1")
        if self.max_processes and self.max_processes < self.processes:
            raise ConfigurationError(
                f"autoscale goes from {self.processes} to {self.max_processes}: the wrong way"
            )
        if self.start_method not in ("fork", "exec"):
            raise ConfigurationError(f"start_method is {self.start_method!r}; it must be 'fork' or 'exec'")


def parse_queues(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Read `mail,default` (strictly in order) or `mail=3,default=1` (weighted) as queues and weights.

    Raises:
        ConfigurationError: the text is neither.
    """
    queues: list[str] = []
    weights: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        queue, equals, weight = part.partition("=")
        queues.append(check_name("the queue", queue))
        if equals:
            if not weight.isdecimal() or int(weight) < 1:
                raise ConfigurationError(f"{part!r}: the weight must be a whole number of 1 or more")
            weights.append(int(weight))
    if weights and len(weights) != len(queues):
        raise ConfigurationError(f"{text!r}: give every queue a weight, or none")
    if len(set(queues)) != len(queues):
        raise ConfigurationError(f"{text!r} names a queue twice")
    return tuple(queues), tuple(weights)


def cpu_count() -> int:
    """The processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
