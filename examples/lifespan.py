"""State of a worker process: opened before its first task, closed after the last, shared by all of them.

Run `taskq dev examples.lifespan:app`, and in another terminal
`TASKQ_REDIS_URL=embedded:// python examples/lifespan.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from taskq import TaskQ, current_task


@dataclass
class Rates:
    """Stands for a pool of connections, or a model that takes long to load."""

    known: dict[str, float] = field(default_factory=dict[str, float])


@asynccontextmanager
async def lifespan(_: TaskQ) -> AsyncGenerator[Rates]:
    await asyncio.sleep(0.1)  # where a real one would load them
    yield Rates({"EUR": 1.0, "USD": 1.08})
    # Here it would close what it had opened.


app = TaskQ("lifespan", lifespan=lifespan)


@app.task
def convert(amount: float, currency: str) -> float:
    rates: Rates = current_task().state
    return round(amount * rates.known[currency], 2)


async def main() -> None:
    handles = await asyncio.gather(*(convert.aenqueue(amount, "USD") for amount in (1, 10, 100)))
    print([await handle.aresult(timeout=10) for handle in handles])
    await app.aclose()


if __name__ == "__main__":
    asyncio.run(main())
