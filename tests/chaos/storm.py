"""A program that enqueues under few keys, lets expire, and cancels: `python -m tests.chaos.storm PLAN`, as JSON.

Beside what `sending.py` writes of each call, its ledger has

| event | means |
| --- | --- |
| keyed | the call has this unique key, or was told of one that has it: `word` |
| expires | the call was to start before this instant (monotonic, ns), or never: `word` |
| cancelled | `cancel` has returned, and said that the task stands so: `word` |
"""

from __future__ import annotations

import random
import sys
import time

import msgspec

from taskq import TaskqError
from tests.chaos import app as tasks
from tests.chaos import ledger
from tests.chaos.broken import apply_control
from tests.chaos.sending import send

KEYS = 6
"""Of each of two tasks, so few that most calls find theirs taken."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one client does: about `rate` calls a second, for `seconds`."""

    seed: str
    rate: float
    seconds: float


def storm(plan: Plan) -> None:
    """Storm as the plan says."""
    rng = random.Random(plan.seed)
    end = time.monotonic() + plan.seconds
    mine: list[str] = []
    while time.monotonic() < end:
        time.sleep(rng.uniform(0, 2 / plan.rate))
        if mine and rng.random() < 0.4:
            cancel(mine.pop(rng.randrange(len(mine))))
        elif id := call(rng):
            mine = [*mine[-30:], id]


def call(rng: random.Random) -> str | None:
    """Enqueue one call, of a kind by chance."""
    ms, chance = rng.choice((5, 50, 300)), rng.random()
    if chance < 0.6:
        task, key = rng.choice((tasks.failing, tasks.afailing)), f"key-{rng.randrange(KEYS)}"
        sender = task.using(key=key)
        if rng.random() < 0.3:  # not by `send`: the id may be another's, which is due by itself
            sender = sender.using(delay=rng.uniform(0.01, 0.3))
        id = send(sender, ms)
        if id:
            ledger.write("keyed", id, word=f"{task.name}:{key}")
        return id
    if chance < 0.8:
        life_s = rng.uniform(0.02, 0.5)
        id = send(rng.choice((tasks.work, tasks.awork)).using(expires=life_s), ms)
        if id:
            ledger.write("expires", id, word=str(time.monotonic_ns() + round(life_s * 1e9)))
        return id
    return send(rng.choice((tasks.work, tasks.awork)), ms)


def cancel(id: str) -> None:
    """Cancel one, and write down what it was said."""
    try:
        state = tasks.app.handle(id).cancel()
    except TaskqError as error:
        ledger.write("reject", "-", word=type(error).__name__)
    else:
        ledger.write("cancelled", id, word=state.name)


if __name__ == "__main__":
    apply_control()
    storm(msgspec.json.decode(sys.argv[1], type=Plan))
