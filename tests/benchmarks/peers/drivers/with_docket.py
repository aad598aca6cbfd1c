"""docket: a program of its own around its `Worker`, for its command cannot be told to keep no results."""

from datetime import timedelta

import common
from common import RESULTS, URL, setting
from docket import Docket, Worker

CONNECTIONS = setting("max_connections")
ADDRESS = f"{URL}?max_connections={CONNECTIONS}"
TTL = timedelta(minutes=15) if RESULTS else timedelta(0)


async def empty() -> int:
    return await common.aempty()


async def rest() -> int:
    return await common.arest()


async def stamped(number: int) -> int:
    return await common.astamped(number)


async def numbered(number: int) -> int:
    return await common.anumbered(number)


tasks = [empty, rest, stamped, numbered]
TASKS = {task.__name__: task for task in tasks}


async def run_worker():
    async with Docket(name="bench", url=ADDRESS, execution_ttl=TTL) as docket:
        for task in tasks:
            docket.register(task)
        timeout = timedelta(seconds=setting("redelivery_timeout"))
        async with Worker(docket, concurrency=setting("concurrency"), redelivery_timeout=timeout) as worker:
            await worker.run_forever()


def work():
    common.run(run_worker())


async def main():
    async with Docket(name="bench", url=ADDRESS, execution_ttl=TTL) as docket:
        for task in tasks:
            docket.register(task)

        async def one(task, args):
            await docket.add(TASKS[task])(*args)

        async def many(task, calls):
            await docket.add_many([docket.call(TASKS[task])(*args) for args in calls])

        await common.aserve(one, many)


def produce():
    common.run(main())
