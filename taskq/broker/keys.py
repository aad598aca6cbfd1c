"""Every key of taskq, by name. docs/internals.md has the table of what each holds.

All keys of one shard carry one hash tag, so that a script may touch any of them on Redis Cluster too.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PRIORITIES = range(9, -1, -1)
"""The priorities of a queue in the order they are served: 9 first, 5 by default."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one shard of one namespace."""

    namespace: str
    shard: int = 0
    prefix: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", f"tq:{{{self.namespace}:{self.shard}}}:")

    @property
    def meta(self) -> str:
        """Hash: format version `v`, number of shards `n`, generation counter `g`, `frozen`."""
        return self.prefix + "meta"

    @property
    def mark(self) -> str:
        """String: nothing; written so that a wait for the disk or for replicas has something to wait for."""
        return self.prefix + "mark"

    def record(self, id: str) -> str:
        """String: `state|g|owner|…`, packed."""
        return f"{self.prefix}t:{id}"

    def message(self, id: str) -> str:
        """String: the envelope."""
        return f"{self.prefix}b:{id}"

    def extra(self, id: str) -> str:
        """Hash: what a record's flags need: `expires`, `key`, `keep`."""
        return f"{self.prefix}x:{id}"

    def ready(self, queue: str, priority: int) -> str:
        """List: ids that are ready, the next one first."""
        return f"{self.prefix}q:{queue}:{priority}"

    def lists(self, queue: str) -> list[str]:
        """The ready lists of a queue in the order they are served."""
        return [self.ready(queue, priority) for priority in PRIORITIES]

    @property
    def agenda(self) -> str:
        """Sorted set: `t:<id>` task due, `x:<id>` task expires, by Redis time in ms."""
        return self.prefix + "agenda"

    @property
    def processes(self) -> str:
        """Sorted set: process → the end of its lease, Redis time in ms."""
        return self.prefix + "procs"

    @property
    def beats(self) -> str:
        """Hash: process → how often it has beaten."""
        return self.prefix + "beats"

    def held(self, process: str) -> str:
        """Hash: id → `seq:index:g:started`; field `#` is the last seq."""
        return f"{self.prefix}held:{process}"

    def info(self, process: str) -> str:
        """String: what a process said of itself, msgpack; it expires some beats after the last one."""
        return f"{self.prefix}info:{process}"

    def serves(self, queue: str) -> str:
        """Set: the processes that serve a queue."""
        return f"{self.prefix}serves:{queue}"

    def wake(self, queue: str) -> str:
        """List: tokens that idle processes block on, eight at most."""
        return f"{self.prefix}wake:{queue}"

    @property
    def queues(self) -> str:
        """Hash: queue → `on` or `paused`, and behind it, if it was ever bounded, `|declared|set`."""
        return self.prefix + "queues"

    @property
    def tasks(self) -> str:
        """Hash: task → `queue|last registered in ms`."""
        return self.prefix + "tasks"

    def knows(self, task: str) -> str:
        """Set: the processes that know a task."""
        return f"{self.prefix}knows:{task}"

    def parked(self, task: str) -> str:
        """Set: ids of messages whose task no worker knows."""
        return f"{self.prefix}parked:{task}"

    def dead(self, queue: str) -> str:
        """Sorted set: ids of dead letters by the time they failed."""
        return f"{self.prefix}dead:{queue}"

    @property
    def recent(self) -> str:
        """Stream: one entry a settle, field `d`, lines of `state id task took_ms`."""
        return self.prefix + "recent"

    @property
    def limbo(self) -> str:
        """Set: ids that stood in a list or the agenda without a record or a message."""
        return self.prefix + "limbo"

    @property
    def quarantine(self) -> str:
        """Stream: `reason` and `id` of bytes that fit nowhere."""
        return self.prefix + "quarantine"

    def inbox(self, client: str) -> str:
        """List: ids that ended, for one client that waits."""
        return f"{self.prefix}inbox:{client}"

    def stats(self, minute: int) -> str:
        """Hash: `task|kind` → how many outcomes, for one minute since the epoch."""
        return f"{self.prefix}stats:{minute}"


PERMANENT = (
    "meta", "agenda", "procs", "beats", "queues", "tasks", "recent", "limbo", "quarantine", "waits",
    "q:*", "wake:*", "dead:*", "serves:*", "knows:*", "parked:*",
)  # fmt: skip
"""The keys that may stand without a TTL when nothing is queued or running; each is bounded."""
