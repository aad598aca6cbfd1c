"""A job: one claimed task in this process, from the claim to its outcome."""

from __future__ import annotations

from typing import Any

from taskq.codec.code import PICKLE
from taskq.message import Message
from taskq.task import Task
from taskq.veil import Veil

LONG_S = 0.025
"""Above this mean duration a task is long: it is never prefetched. A task that never ran here counts as long."""

BRISK_S = 0.002
"""Below this mean duration a waiting job is not worth waking another thread for."""


class Gauge:
    """How long one task takes in this process: a moving mean, in seconds of monotonic time."""

    __slots__ = ("mean", "runs", "task")

    def __init__(self, task: Task[..., Any]) -> None:
        self.task = task
        self.mean = 1.0
        self.runs = 0

    def ran(self, seconds: float) -> None:
        """Note one run."""
        self.mean = seconds if not self.runs else self.mean + 0.1 * (seconds - self.mean)
        self.runs += 1


class Job:
    """One claimed task.

    `g` is its fence, `process` the life that claimed it, `epoch` the holdings' when it came: a job of an older
    one must not start.
    """

    __slots__ = (
        "_veil",
        "cancelled",
        "careful",
        "crashes",
        "epoch",
        "expires_ms",
        "failures",
        "g",
        "gauge",
        "hard_ms",
        "id",
        "message",
        "outcome_given",
        "process",
        "received",
        "signed",
        "slot",
        "soft_ms",
        "started",
        "task",
        "timed_out",
    )

    def __init__(
        self,
        id: str,
        g: int,
        message: Message,
        gauge: Gauge,
        failures: int,
        crashes: int,
        careful: bool,
        expires_ms: int,
        process: str,
        epoch: int,
        received: float,
    ) -> None:
        self.id = id
        self.g = g
        self.message = message
        self.gauge = gauge
        self.task = gauge.task
        self.failures = failures
        self.crashes = crashes
        self.careful = careful
        self.expires_ms = expires_ms
        self.process = process
        self.epoch = epoch
        self.received = received
        options = self.task.options
        self.hard_ms = options.timeout_ms if message.timeout_ms is None else message.timeout_ms or None
        self.soft_ms = options.soft_timeout_ms
        self.signed = False
        """Its message's signature was verified."""
        self.started = 0.0
        """Monotonic seconds, 0 until it starts."""
        self.cancelled = False
        """Somebody asked for its end."""
        self.timed_out = False
        """Its hard timeout is over."""
        self.outcome_given = False
        """Its outcome is on its way: it was acknowledged by hand, or at its start."""
        self.slot = -1
        """Where it runs; -1 before its first step and after the end."""
        self._veil: Veil | None = None

    @property
    def attempt(self) -> int:
        """Counts from 1."""
        return self.failures + self.crashes + 1

    @property
    def is_pickled(self) -> bool:
        """Its call came as code, so its result may go so."""
        return self.signed and self.message.args[:1] == PICKLE

    def veil(self) -> Veil:
        """What hides its secret arguments in texts; made once it is asked for, which is when it fails."""
        if self._veil is None:
            message = self.message
            self._veil = self.task.codec.veil(message.args, message.kwargs, self.signed, message.secrets)
        return self._veil

    def timeouts(self) -> list[float]:
        """Its timeouts in seconds."""
        return [ms / 1_000 for ms in (self.hard_ms, self.soft_ms) if ms]
