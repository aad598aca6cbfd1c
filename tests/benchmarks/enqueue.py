"""What an enqueue costs the program that makes it; no server is involved.

python -m tests.benchmarks.enqueue
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from taskq import TaskQ
from taskq.broker.client import Broker
from taskq.broker.command import Command
from taskq.names import new_task_id

T = TypeVar("T")
NOW_MS = 1_764_000_000_000
REPEATS, CALLS = 7, 20_000


class Yes(Broker):
    """Says at once that all is stored."""

    def call(self, command: Command[T], patience: float | None = None) -> T:
        if command.name == "init":
            return command.decode([b"1", 1])
        if command.name == "TIME":
            return command.decode([b"1764000000", b"0"])
        return command.decode([NOW_MS, *[1] * (len(command.args) // 4)])


yes = Yes("redis://nowhere.invalid")


class Bench(TaskQ):
    @property
    def broker(self) -> Broker:
        return yes


app = Bench("bench")


@app.task
def noop() -> None: ...


@app.task(queue="mail")
def send(to: str, attempt: int, subject: str) -> str:
    return to


def best_us(work: Callable[[], object], calls: int) -> float:
    """Give the microseconds a call in the best of some runs of `work`, which makes `calls` calls."""

    def once() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return min(once() for _ in range(REPEATS)) / calls * 1e6


def each_us(function: Callable[[], object]) -> float:
    def work() -> None:
        for _ in range(CALLS):
            function()

    return best_us(work, CALLS)


def main() -> None:
    arguments = ("a@b.c", 3, "hello")
    many = [arguments] * (256 * 20)
    rows = {
        "the codec alone, 3 arguments": each_us(lambda: send.codec.encode_call(arguments, {})),
        "a new id alone": each_us(new_task_id),
        "enqueue, no arguments": each_us(noop.enqueue),
        "enqueue, 3 arguments": each_us(lambda: send.enqueue(*arguments)),
        "using(…).enqueue": each_us(lambda: send.using(priority=9, delay=5).enqueue(*arguments)),
        "enqueue_many, each call": best_us(lambda: send.enqueue_many(many), len(many)),
    }
    for name, cost in rows.items():
        print(f"{cost:6.2f} µs  {name}")


if __name__ == "__main__":
    main()
