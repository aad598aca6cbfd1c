"""Many tasks at once, and how far they are.

Run `taskq dev examples.progress:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/progress.py`.
"""

from __future__ import annotations

from collections import Counter

from taskq import TaskFailed, TaskQ, as_completed

app = TaskQ("progress")


@app.task(max_retries=0)
def first_divisor(number: int) -> int:
    """Find the smallest divisor above 1."""
    if number < 2:
        raise ValueError(f"{number} has no divisor above 1")
    return next((divisor for divisor in range(2, int(number**0.5) + 1) if number % divisor == 0), number)


def main() -> None:
    numbers = range(500)
    outcomes = first_divisor.enqueue_many([(number,) for number in numbers])
    handles = [outcome.get() for outcome in outcomes]  # raises what `enqueue` would have raised
    number_of = dict(zip(handles, numbers, strict=True))

    ends: Counter[str] = Counter()
    for done, handle in enumerate(as_completed(handles, timeout=30), 1):
        try:
            ends["prime" if handle.result() == number_of[handle] else "composite"] += 1
        except TaskFailed:
            ends["failed"] += 1
        if done % 100 == 0:
            print(f"{done} of {len(handles)}")
    print(dict(sorted(ends.items())))


if __name__ == "__main__":
    main()
