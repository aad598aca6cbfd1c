"""Signing keys: what no key of yours has signed does not run, and what is said of a task's end is held against them.

Run `taskq dev examples.signing:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/signing.py`.
"""

from __future__ import annotations

from taskq import TaskQ
from taskq.errors import BadSignature

# In production the key comes from TASKQ_SIGNING_KEYS, which `taskq keys new` makes, and stands in no code.
KEYS = {"demo": "this-secret-is-no-secret-for-everyone-can-read-it"}

app = TaskQ("signing", signing_keys=KEYS)
stranger = TaskQ("signing", signing_keys={"demo": "another secret under the same id, made up by somebody"})


@app.task
def pay(order: int, cents: int) -> str:
    return f"order {order}: paid {cents / 100:.2f}"


def main() -> None:
    handle = pay.enqueue(7, 1999)
    print(handle.result(timeout=10))
    print("signature:", handle.info().signature)

    forged = stranger.enqueue(pay.name, 7, 1)
    try:
        forged.result(timeout=10)
    except BadSignature as error:
        print("the stranger cannot read the answer:", error)
    print("the worker ran nothing:", forged.status().value)


if __name__ == "__main__":
    main()
