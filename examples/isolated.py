"""Code of users, each run in a process of its own: one that does not end, fills the memory or crashes harms nobody.

Run `taskq dev examples.isolated:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/isolated.py`.
"""

from __future__ import annotations

import re

from taskq import TaskFailed, TaskQ

app = TaskQ("isolated")


@app.task(isolate="process", timeout=1, max_memory="100MB", max_crashes=1, max_retries=0)
def count(pattern: str, text: str, times: int = 1) -> int:
    """Count what a pattern finds in a text that is repeated. The pattern is a user's: it may take for ever."""
    return len(re.findall(pattern, text * times))


def main() -> None:
    calls = {
        "words": count.enqueue(r"\w+", "to be or not to be"),
        "takes for ever": count.enqueue(r"(a+)+$", "a" * 40 + "!"),
        "takes all memory": count.enqueue(r"\w", "x", 1_000_000_000),
    }
    for name, handle in calls.items():
        try:
            print(f"{name}: {handle.result(timeout=20)}")
        except TaskFailed as error:
            print(f"{name}: {error.type}")


if __name__ == "__main__":
    main()
