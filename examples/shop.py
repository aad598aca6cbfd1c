"""A shop that sends mail and counts its takings.

Run `taskq dev examples.shop:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/shop.py`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal

from taskq import TaskQ

app = TaskQ("shop")


@dataclass
class Item:
    sku: str
    price: Decimal
    pieces: int = 1


@app.task(queue="mail", max_retries=5, timeout="30s")
def send_email(to: str, subject: str) -> str:
    return f"{subject!r} sent to {to}"


@app.task
async def total(items: list[Item]) -> Decimal:
    await asyncio.sleep(0.1)  # where a real one would ask for discounts
    return sum((item.price * item.pieces for item in items), Decimal(0))


def main() -> None:
    hello = send_email.enqueue("a@example.org", "hello")
    takings = total.enqueue([Item("tea", Decimal("3.20"), 2), Item("cup", Decimal("7.50"))])
    later = send_email.using(delay="1h", priority=9, key="welcome:42").enqueue("b@example.org", "welcome")
    again = send_email.using(key="welcome:42").enqueue("b@example.org", "welcome")

    print(hello.result(timeout=10))
    print(takings.result(timeout=10))
    print(f"the second welcome is the first one: {again == later}, {later.status().value}")
    print(f"and now it is {later.cancel().value}")


if __name__ == "__main__":
    main()
