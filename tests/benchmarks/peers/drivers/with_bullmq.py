"""BullMQ's Python port: a program of its own around its `Worker`, as its documentation shows."""

import asyncio

import common
from bullmq import Queue, Worker
from common import RESULTS, URL, setting

OPTIONS = {} if RESULTS else {"removeOnComplete": True}
TASKS = {name: getattr(common, f"a{name}") for name in common.NAMES}


async def process(job, token):
    return await TASKS[job.name](*job.data["args"])


async def run_worker():
    names = ("concurrency", "lockDuration", "stalledInterval", "maxStalledCount")
    worker = Worker("bench", process, {"connection": URL, **{name: setting(name) for name in names}})
    await asyncio.Event().wait()
    await worker.close()


def work():
    common.run(run_worker())


async def main():
    queue = Queue("bench", {"connection": URL})

    async def one(task, args):
        await queue.add(task, {"args": args}, OPTIONS)

    async def many(task, calls):
        await queue.addBulk([{"name": task, "data": {"args": args}, "opts": OPTIONS} for args in calls])

    await common.aserve(one, many)


def produce():
    common.run(main())
