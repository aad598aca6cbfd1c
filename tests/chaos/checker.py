"""What a run shows: pure functions over its ledger and what the server holds at the end. Nothing here asks taskq.

States are the letters of the records (docs/internals.md): S F C E have ended, p is parked.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.ledger import Entry

ENDED = frozenset("SFCE")
AT_REST = ENDED | {"p"}
_EARLY_NS = 1_000_000
"""Due times are whole milliseconds."""


@dataclass(frozen=True)
class Evidence:
    """What was gathered of one run.

    Attributes:
        entries: the ledger, in the order of time.
        finals: the letter of each record at the end; an id without a record is missing.
        seen: the `state|g` with which each task was seen to have ended, in the order they were seen, once each.
        outcomes: how many final outcomes the server has entered for each task.
        residue: keys that should not be there, once no task is left and no worker runs.
    """

    entries: Sequence[Entry]
    finals: Mapping[str, str] = field(default_factory=dict[str, str])
    seen: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    outcomes: Mapping[str, int] = field(default_factory=dict[str, int])
    residue: Sequence[str] = ()


@dataclass(frozen=True)
class Complaint:
    """What is wrong: one word for the kind, by which a scenario tolerates it or a control is known, and the details."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass(frozen=True)
class Span:
    """One run of a task; `end` is None while nothing is known of it."""

    id: str
    pid: int
    fence: int
    start: int
    end: int


@dataclass(frozen=True)
class Findings:
    """What the evidence comes to. Lists hold ids."""

    accepted: int
    unknown: int
    rejected: int
    starts: int
    duplicates: int
    refused: int
    lost: list[str]
    undeserved: list[str]
    unexpected: list[str]
    overlaps: list[str]
    doubles: list[str]
    stale: list[str]
    early: list[str]
    changed: list[str]
    unbalanced: list[str]
    residue: list[str]
    late_s: list[float]
    waited_s: list[float]
    recovered_s: dict[str, list[float]]
    """By what was killed: how long until each task that ran there started again."""
    resumed_s: list[float]
    """How long after each `back` a task started."""

    def complaints(self) -> list[Complaint]:
        """What no scenario may show unless it says why."""
        lists = {
            "lost": self.lost,
            "undeserved": self.undeserved,
            "unexpected": self.unexpected,
            "double": self.doubles,
            "stale": self.stale,
            "early": self.early,
            "changed": self.changed,
            "unbalanced": self.unbalanced,
            "residue": self.residue,
        }
        found = [
            Complaint(kind, f"{len(some)}, as {', '.join(some[:3])}") for kind, some in lists.items() if some
        ]
        return found if self.accepted else [*found, Complaint("empty", "no task was accepted")]

    @property
    def recovered(self) -> list[float]:
        """All of `recovered_s`."""
        return [one for some in self.recovered_s.values() for one in some]


def check(evidence: Evidence) -> Findings:
    """Judge one run."""
    entries, finals = evidence.entries, evidence.finals
    count = Counter(entry.event for entry in entries)
    accepted = ids_of(entries, "accept")
    return Findings(
        accepted=len(accepted),
        unknown=len(ids_of(entries, "unknown") - accepted),
        rejected=count["reject"],
        starts=count["start"],
        duplicates=duplicates(entries),
        refused=count["refused"],
        lost=lost(entries, finals),
        undeserved=undeserved(entries, finals),
        unexpected=unexpected(entries),
        overlaps=overlaps(entries),
        doubles=double_commits(entries, evidence.outcomes),
        stale=stale_commits(entries),
        early=early(entries),
        changed=terminal_changed(evidence.seen),
        unbalanced=unbalanced(entries, finals),
        residue=list(evidence.residue),
        late_s=late_s(entries),
        waited_s=waited_s(entries),
        recovered_s=recovered_s(entries),
        resumed_s=resumed_s(entries),
    )


def ids_of(entries: Iterable[Entry], *events: str) -> set[str]:
    """Give the ids that have one of these events."""
    return {entry.id for entry in entries if entry.event in events}


def lost(entries: Sequence[Entry], finals: Mapping[str, str]) -> list[str]:
    """Who was accepted and never ran to its end, whatever the server says; who failed or was cancelled is excused."""
    done = {entry.id for entry in entries if entry.event == "end" and entry.word == "-"}
    excused = {id for id, state in finals.items() if state in AT_REST and state != "S"}
    return sorted(ids_of(entries, "accept") - done - excused)


def undeserved(entries: Sequence[Entry], finals: Mapping[str, str]) -> list[str]:
    """Who was accepted and failed, was cancelled, has expired or is parked: a scenario that means it tolerates that."""
    return sorted(id for id in ids_of(entries, "accept") if finals.get(id) in AT_REST - {"S"})


def unexpected(entries: Sequence[Entry]) -> list[str]:
    """Who started though no caller was told that it may be stored."""
    return sorted(ids_of(entries, "start") - ids_of(entries, "accept", "unknown"))


def duplicates(entries: Iterable[Entry]) -> int:
    """Count starts beyond each task's first."""
    starts = Counter(entry.id for entry in entries if entry.event == "start")
    return sum(starts.values()) - len(starts)


def spans(entries: Sequence[Entry]) -> list[Span]:
    """Pair starts with ends. A run without an end ends when its process was killed, or wrote for the last time."""
    ends = {(entry.id, entry.pid, entry.fence): entry.ns for entry in entries if entry.event == "end"}
    killed = {entry.attempt: entry.ns for entry in entries if entry.event == "kill"}
    last = {entry.pid: entry.ns for entry in entries}
    return [
        Span(
            entry.id,
            entry.pid,
            entry.fence,
            entry.ns,
            ends.get((entry.id, entry.pid, entry.fence)) or killed.get(entry.pid) or last[entry.pid],
        )
        for entry in entries
        if entry.event == "start"
    ]


def overlaps(entries: Sequence[Entry]) -> list[str]:
    """Who ran twice at the same time."""
    by_id: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans(entries):
        by_id[span.id].append(span)
    found: list[str] = []
    for id, some in by_id.items():
        some.sort(key=lambda span: span.start)
        if any(later.start < earlier.end for earlier, later in itertools.pairwise(some)):
            found.append(id)
    return sorted(found)


def double_commits(entries: Iterable[Entry], outcomes: Mapping[str, int]) -> list[str]:
    """Who had two outcomes committed for one claim, or two final ones."""
    claims = Counter((entry.id, entry.fence) for entry in entries if entry.event == "commit")
    finals = Counter(entry.id for entry in entries if entry.event == "commit" and entry.word in ENDED)
    twice = {id for (id, _), count in claims.items() if count > 1}
    twice |= {id for some in (finals, outcomes) for id, count in some.items() if count > 1}
    return sorted(twice)


def stale_commits(entries: Sequence[Entry]) -> list[str]:
    """Who had a final outcome committed for a claim though a later one had started: its owner had lost it."""
    fences: dict[str, int] = {}
    found: set[str] = set()
    for entry in entries:
        if entry.event == "start":
            fences[entry.id] = max(entry.fence, fences.get(entry.id, 0))
        elif entry.event == "commit" and entry.word in ENDED and entry.fence < fences.get(entry.id, 0):
            found.add(entry.id)
    return sorted(found)


def _due(entries: Iterable[Entry]) -> dict[str, int]:
    return {entry.id: int(entry.word) for entry in entries if entry.event == "accept" and entry.word != "-"}


def early(entries: Sequence[Entry]) -> list[str]:
    """Who started before it was due."""
    due = _due(entries)
    return sorted(
        {
            entry.id
            for entry in entries
            if entry.event == "start" and entry.ns < due.get(entry.id, 0) - _EARLY_NS
        }
    )


def late_s(entries: Sequence[Entry]) -> list[float]:
    """How long after it was due each scheduled task first started, ascending."""
    due = _due(entries)
    firsts: dict[str, int] = {}
    for entry in entries:
        if entry.event == "start" and entry.id in due:
            firsts.setdefault(entry.id, entry.ns)
    return sorted((ns - due[id]) / 1e9 for id, ns in firsts.items())


def waited_s(entries: Sequence[Entry]) -> list[float]:
    """How long after it was accepted each task that was not scheduled first started, ascending."""
    accepted = {entry.id: entry.ns for entry in entries if entry.event == "accept" and entry.word == "-"}
    firsts: dict[str, int] = {}
    for entry in entries:
        if entry.event == "start" and entry.id in accepted:
            firsts.setdefault(entry.id, entry.ns)
    return sorted(max(0, ns - accepted[id]) / 1e9 for id, ns in firsts.items())


def recovered_s(entries: Sequence[Entry]) -> dict[str, list[float]]:
    """How long after a kill each task that ran in that process started again, ascending, by what was killed."""
    kills = {entry.attempt: entry for entry in entries if entry.event == "kill"}
    starts: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        if entry.event == "start":
            starts[entry.id].append(entry)
    ended = {(entry.id, entry.pid, entry.fence) for entry in entries if entry.event == "end"}
    found: defaultdict[str, list[float]] = defaultdict(list)
    for some in starts.values():
        for first, second in itertools.pairwise(some):
            kill = kills.get(first.pid)
            if kill is not None and (first.id, first.pid, first.fence) not in ended:
                found[kill.word].append((second.ns - kill.ns) / 1e9)
    return {word: sorted(times) for word, times in found.items()}


def resumed_s(entries: Sequence[Entry]) -> list[float]:
    """How long after each time that something was there again the next task started; infinite if none did."""
    starts = [entry.ns for entry in entries if entry.event == "start"]
    backs = [entry.ns for entry in entries if entry.event == "back"]
    return [min((ns - back for ns in starts if ns > back), default=math.inf) / 1e9 for back in backs]


def terminal_changed(seen: Mapping[str, Sequence[str]]) -> list[str]:
    """Who was seen to have ended in two ways."""
    return sorted(id for id, ways in seen.items() if len(set(ways)) > 1)


def unbalanced(entries: Iterable[Entry], finals: Mapping[str, str]) -> list[str]:
    """Who was accepted and stands nowhere: accepted = succeeded + failed + cancelled + expired + parked."""
    return sorted(id for id in ids_of(entries, "accept") if finals.get(id) not in AT_REST)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def bound(count: int) -> float:
    """The rate that is not exceeded, with 95 % confidence, if none of `count` was lost."""
    return 3 / count if count else 1.0
