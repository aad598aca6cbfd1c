"""streaQ: `streaq run with_streaq:worker`."""

import common
from common import RESULTS, URL, setting
from streaq import Worker

worker = Worker(redis_url=URL, concurrency=setting("concurrency"), idle_timeout=setting("idle_timeout"))
TASKS = {
    name: worker.task(name=name, ttl=300 if RESULTS else 0, silent=True)(getattr(common, f"a{name}"))
    for name in common.NAMES
}


async def main():
    async with worker:

        async def one(task, args):
            return await TASKS[task].enqueue(*args)

        async def many(task, calls):
            await worker.enqueue_many([TASKS[task].enqueue(*args) for args in calls])

        await common.aserve(one, many)


def produce():
    common.run(main())
