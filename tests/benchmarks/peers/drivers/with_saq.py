"""SAQ: `saq with_saq.settings`."""

import common
from common import RESULTS, URL, setting
from saq import Queue

queue = Queue.from_url(URL)
OPTIONS = {"ttl": 600 if RESULTS else -1, "timeout": setting("timeout"), "retries": setting("retries")}


async def empty(ctx):
    return await common.aempty()


async def rest(ctx):
    return await common.arest()


async def stamped(ctx, *, number):
    return await common.astamped(number)


async def numbered(ctx, *, number):
    return await common.anumbered(number)


settings = {
    "queue": queue,
    "functions": [empty, rest, stamped, numbered],
    "concurrency": setting("concurrency"),
    "timers": {"sweep": setting("sweep")},
}


async def main():
    await queue.connect()
    await common.aserve(
        lambda task, args: queue.enqueue(task, **OPTIONS, **({"number": args[0]} if args else {}))
    )


def produce():
    common.run(main())
