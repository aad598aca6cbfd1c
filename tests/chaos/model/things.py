"""What the model knows of one task, one process, one outcome, and how long things stay."""

from __future__ import annotations

from dataclasses import dataclass, field

from taskq.broker.commands.working import Kind

MINUTE = 60_000
TOMBSTONE_MS = 10 * MINUTE
STATS_MS = 120 * MINUTE
LEASE_MS = 20 * MINUTE
AT_ONCE = 3
"""How much one call does, where scripts do hundreds: few tasks are to reach the bounds. See `setting.py`."""
MOST_DEAD = 4
LIVING, ENDED = frozenset("wqrp"), frozenset("SFCE")


@dataclass(frozen=True)
class Message:
    """One message of an enqueue, with its options."""

    id: str
    list: str
    delay_ms: int | None = None
    eta_ms: int | None = None
    expires_in_ms: int | None = None
    expires_ms: int | None = None
    front: bool = False
    own_id: bool = False
    key: str = ""
    keep_ms: int | None = None


@dataclass
class Task:
    """One life of one id. `until` is the minute at which its record goes, None while it stays."""

    id: str
    list: str
    state: str = "q"
    g: int = 0
    owner: str = ""
    failures: int = 0
    crashes: int = 0
    flags: frozenset[str] = frozenset()
    recorded: bool = False
    due: int = 0
    expires: int | None = None
    key: str = ""
    kept: bool = False
    outcome: str = ""
    has_message: bool = True
    until: int | None = None

    @property
    def alive(self) -> bool:
        return self.state in LIVING

    @property
    def queue(self) -> str:
        return self.list.partition(":")[0]

    def record(self) -> tuple[str | int | frozenset[str], ...]:
        """What its record says, in the order of the record."""
        if self.alive:
            counts = (self.failures, self.crashes)
            return (self.state, self.g, self.owner, self.list, *counts, self.flags)
        return (self.state, self.g, self.owner, self.outcome)


@dataclass
class Hold:
    """What a process holds of one task. `seq` is the claim's, `index` the place in its batch."""

    seq: int
    index: int
    g: int
    started: bool = False


@dataclass
class Process:
    """What the server knows of a process. `lease` is None if it has none, `seq` and `beats` if nothing stands there."""

    lease: int | None = None
    beats: int | None = None
    seq: int | None = None
    held: dict[str, Hold] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    asked_until: int = 0
    info_until: int = 0


@dataclass(frozen=True)
class Settled:
    """One outcome on its way."""

    id: str
    g: int
    kind: Kind
    keep: bool
    ms: int
    outcome: str

    @property
    def letter(self) -> str:
        letter = str(self.kind.value)
        return letter.lower() if self.keep and self.kind in _KEEPING else letter


_KEEPING = frozenset({Kind.SUCCEEDED, Kind.CANCELLED, Kind.EXPIRED})
