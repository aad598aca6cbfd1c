"""What befalls unique keys, cancels and expiries: all at once, from several clients, while processes die."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.chaos.checker import Complaint, Findings, Span, spans
from tests.chaos.ledger import Entry
from tests.chaos.scenario import Scenario
from tests.chaos.stage import LEASE_S, Stage
from tests.chaos.storm import Plan
from tests.proxy import Fate, at_random

CLIENTS = 6
LATE_NS = 300_000_000
"""Between a process's last look at an expiry and the task's first line, on a busy machine."""


class KeyStorm(Scenario):
    """T28: six clients enqueue under twelve keys, let expire and cancel; tasks fail and are retried; processes die.

    Who was told that a task is cancelled sees no start of it afterwards; told that it runs and will be, one at most,
    for it may have been given to a process already. No two tasks of one key are at work at once, whoever died. Nothing
    starts after its expiry. No key is left.
    """

    id = "T28"
    fault = "unique keys, cancels, expiries, retries from 6 clients; replies lost, processes killed"
    seconds = 12.0
    control = "keys_of_limited_life"
    shows = ("twice",)
    tolerates = ("undeserved",)  # cancels and expiries are meant

    def play(self, stage: Stage) -> None:
        self.kills = 0
        odds = {name: {Fate.LOSE_REPLY: 0.03} for name in ("enqueue", "cancel")}
        proxy = stage.proxy(at_random(odds, stage.rng), reset=True)
        stage.start_hosts(2)
        for at in range(CLIENTS):
            plan = Plan(seed=f"{stage.seed}-{at}", rate=30, seconds=stage.seconds)
            stage.program("tests.chaos.storm", plan, proxy.url)
        stage.wait_starts(20)
        for _ in stage.at_random(0.3, 1.5):
            self.kills += 1
            host = stage.rng.choice(stage.hosts)
            if stage.rng.random() < 0.2:
                stage.kill_host(host)
                stage.host(wait=False)
            else:
                stage.kill_child(host)
        time.sleep(LEASE_S + 1.0)  # the dead are forgotten by then

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        entries = stage.entries()
        self.cancelled, self.taken = cancels(entries), shared(entries)
        if some := after_cancel(entries):
            yield Complaint("cancelled", f"{len(some)} started after they were cancelled, as {some[0]}")
        if some := two_at_once(entries):
            yield Complaint("twice", f"{len(some)} times two of one key were at work at once, as {some[0]}")
        if some := after_expiry(entries):
            yield Complaint("expired", f"{len(some)} started after their expiry, as {some[0]}")
        if self.cancelled < 10 or self.taken < 10:
            yield Complaint(
                "idle", f"{self.cancelled} cancels, {self.taken} keys were taken: it shows nothing"
            )

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"cancelled": str(self.cancelled), "keys_taken": str(self.taken), "kills": str(self.kills)}


def cancels(entries: Sequence[Entry]) -> int:
    """How many calls of `cancel` ended a task that waited."""
    return sum(entry.event == "cancelled" and entry.word == "CANCELLED" for entry in entries)


def shared(entries: Sequence[Entry]) -> int:
    """How many calls found their key taken."""
    keyed = [entry.id for entry in entries if entry.event == "keyed"]
    return len(keyed) - len(set(keyed))


def after_cancel(entries: Sequence[Entry]) -> list[str]:
    """Who started after somebody was told that it is cancelled, or twice after he was told that it will be."""
    allowed: dict[str, int] = {}
    found: list[str] = []
    for entry in entries:
        if entry.event == "cancelled" and entry.word in ("CANCELLED", "RUNNING"):
            most = 1 if entry.word == "RUNNING" else 0
            allowed[entry.id] = min(most, allowed.get(entry.id, most))
        elif entry.event == "start" and entry.id in allowed:
            allowed[entry.id] -= 1
            if allowed[entry.id] < 0:
                found.append(entry.id)
    return found


def two_at_once(entries: Sequence[Entry]) -> list[str]:
    """Who started while another task of the same key ran."""
    keys = {entry.id: entry.word for entry in entries if entry.event == "keyed"}
    by_key: defaultdict[str, list[Span]] = defaultdict(list)
    for span in spans(entries):
        if span.id in keys:
            by_key[keys[span.id]].append(span)
    found: list[str] = []
    for some in by_key.values():
        some.sort(key=lambda span: span.start)
        found += [two.id for one, two in itertools.pairwise(some) if two.start < one.end and two.id != one.id]
    return found


def after_expiry(entries: Sequence[Entry]) -> list[str]:
    """Who started after the instant until which it was to have started."""
    ends = {entry.id: int(entry.word) for entry in entries if entry.event == "expires"}
    starts = [entry for entry in entries if entry.event == "start" and entry.id in ends]
    return [entry.id for entry in starts if entry.ns > ends[entry.id] + LATE_NS]
