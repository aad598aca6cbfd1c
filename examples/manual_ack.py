"""A task that decides by itself from which point on it is done.

Run `taskq dev examples.manual_ack:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/manual_ack.py`.
"""

from __future__ import annotations

import time

from taskq import RetryPolicy, TaskQ, current_task, wait

app = TaskQ("manual-ack")


@app.task(ack="manual", retry=RetryPolicy(max_retries=10))
def print_label(order: int) -> None:
    task = current_task()
    if task.attempt == 1:  # the printer is busy
        task.log.info("busy, again in half a second")
        task.nack(delay="500ms")
        return
    task.log.info("printing the label of order %d", order)
    task.ack()  # it is on paper: from here on, no crash prints it again
    time.sleep(0.2)  # tidying up may fail, or be cut off


def main() -> None:
    handles = [print_label.enqueue(order) for order in (7, 8)]
    wait(handles, timeout=10)
    for handle in handles:
        info = handle.info()  # an acknowledged task has no result, but an end
        print(f"{info.id}: {info.state.value} at attempt {info.attempt}")


if __name__ == "__main__":
    main()
