"""What `taskq bench` measures. Names say the unit; a share is of 1; what could not be read is None."""

from __future__ import annotations

from typing import Any

import msgspec

from taskq.cli.trial.durations import Milliseconds


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The server, and how it stood before the first task."""

    name: str
    url: str
    """Without its password."""
    embedded: bool
    """It was started for this run alone."""
    network: str
    """`loopback`, `unix socket` or `network`."""
    aof: str | None
    """`off`, or when the AOF is flushed: `everysec`, `always`, `no`."""
    maxmemory_bytes: int
    """0: no limit is set."""
    maxmemory_policy: str
    used_memory_bytes: int
    other_clients: int
    other_commands_per_s: int

    @property
    def is_here(self) -> bool:
        """It runs on this machine, and shares its processors."""
        return self.network != "network"


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """This machine, and what is installed on it."""

    taskq: str
    python: str
    hiredis: str | None
    uvloop: str | None
    signing: bool
    cpus: int
    """Those that this process may use."""


class Enqueues(msgspec.Struct, frozen=True, kw_only=True):
    """One way to enqueue, in one program."""

    tasks: int
    per_s: float
    program_core_share: float
    """How much of a core the program used."""
    redis_thread_share: float
    """How much of its one thread Redis used."""
    redis_cpu_us_per_task: float


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """How fast worker processes emptied the queue, from its release to the last commit."""

    kind: str
    """`sync` or `async`."""
    processes: int
    tasks: int
    seconds: float
    per_s: float
    worker_cpu_us_per_task: float | None
    """All processes of the worker."""
    core_share_per_process: float | None
    """How much of a core one of them used."""
    cpu_wait_share_per_process: float | None
    """How long the threads of one of them were ready to run and had no processor."""
    redis_thread_share: float
    redis_wait_share: float | None
    """How long Redis's thread was ready to run and had no processor; known if it runs here."""
    redis_cpu_us_per_task: float
    redis_script_us_per_task: float
    """In scripts, by the clock: if Redis had no processor meanwhile, more than its CPU."""


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """A task for a worker that has nothing to do."""

    trips: int
    start_ms: Milliseconds
    """From before the enqueue to the first line of the task."""
    result_ms: Milliseconds
    """From before the enqueue until the program has the result."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What a task takes in Redis."""

    payload_bytes: int
    queued_bytes_per_task: float
    """With its message."""
    ended_bytes_per_task: float
    """With its outcome, as long as results are kept."""


class Slow(msgspec.Struct, frozen=True, kw_only=True):
    """Commands of this run that stand in the server's SLOWLOG; the others' are not counted."""

    commands: int
    longest_ms: float
    threshold_ms: float | None


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """All figures of a run."""

    namespace: str
    quick: bool
    seconds: float
    server: Server
    client: Client
    ping_ms: Milliseconds
    enqueue: Enqueues
    """One after the other."""
    enqueue_many: Enqueues
    """In batches of 250."""
    aenqueue: Enqueues
    """1,000 at once on one event loop."""
    idle: Idle
    drains: list[Drain]
    memory: Memory
    slowlog: Slow | None
    late_fsyncs: int
    """How often the disk was late with the AOF meanwhile."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence about what limits, and the rule it comes from."""

    rule: str
    says: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed."""

    figures: Measured
    limits: list[Said]
    doctor: list[Any]
    """What the doctor finds wrong with the server."""
