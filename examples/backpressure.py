"""A queue that takes so much and no more: an import waits for room in it, a request is refused at once.

Run `taskq dev examples.backpressure:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/backpressure.py`.
"""

from __future__ import annotations

import time

from taskq import QueueFull, TaskQ

app = TaskQ("imports", max_length={"rows": 20})


@app.task(queue="rows")
def store_row(number: int) -> int:
    time.sleep(0.005)
    return number


def import_all(rows: int) -> int:
    """Fill the queue no faster than workers empty it: at most 20 rows ever wait there."""
    patient = store_row.using(block_when_full="30s")
    return sum(one.created for one in patient.enqueue_many((number,) for number in range(rows)))


def handle_requests(number: int) -> tuple[int, int]:
    """A request must not wait: what the queue does not take is answered with 503."""
    accepted = 0
    for outcome in store_row.enqueue_many((number,) for number in range(number)):
        try:
            outcome.get()
        except QueueFull:
            continue
        accepted += 1
    return accepted, number - accepted


def main() -> None:
    # A worker of the app tells the server of the bound before it takes its first task.
    store_row.enqueue(0).result(timeout=20)

    begun = time.monotonic()
    print(f"{import_all(300)} rows were taken in {time.monotonic() - begun:.1f} s, none was refused")
    accepted, refused = handle_requests(100)
    print(f"of 100 requests at once, {accepted} were accepted and {refused} answered with 503")
    assert refused


if __name__ == "__main__":
    main()
