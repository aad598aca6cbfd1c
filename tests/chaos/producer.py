"""A program that enqueues at a steady pace: `python -m tests.chaos.producer PLAN`, a `Plan` as JSON."""

from __future__ import annotations

import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from tests.chaos import app as tasks
from tests.chaos.broken import apply_control
from tests.chaos.sending import send


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What one producer does. It ends after `count` calls, or after `seconds`, whichever comes first."""

    seed: str
    rate: float
    """Calls a second; a producer that fell behind catches up."""
    seconds: float
    count: int = 0
    """0: as many as come."""
    tasks: list[str] = msgspec.field(default_factory=lambda: ["work", "awork"])
    """Functions of tests/chaos/app.py, drawn at random."""
    args: list[Any] = msgspec.field(default_factory=lambda: [20])
    using: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    """Options of each call, as `Sender.using` takes them."""
    delay_s: float = 0.0
    """Each call is delayed by a random time up to this."""
    threads: int = 1
    """How many do all this at once, each with its share of `rate`: for calls that wait."""


def produce(plan: Plan) -> None:
    """Enqueue as the plan says."""
    rng = random.Random(plan.seed)
    began = time.monotonic()
    done = 0
    while (now := time.monotonic()) < began + plan.seconds and not 0 < plan.count <= done:
        if (early := began + done / plan.rate - now) > 0:
            time.sleep(early)
        sender = getattr(tasks, rng.choice(plan.tasks))
        if plan.using:
            sender = sender.using(**plan.using)
        send(sender, *plan.args, delay_s=rng.uniform(0.001, plan.delay_s) if plan.delay_s else 0.0)
        done += 1


if __name__ == "__main__":
    apply_control()
    whole = msgspec.json.decode(sys.argv[1], type=Plan)
    share = msgspec.structs.replace(whole, rate=whole.rate / whole.threads)
    with ThreadPoolExecutor(whole.threads) as pool:
        for _ in pool.map(produce, [share] * whole.threads):
            pass
