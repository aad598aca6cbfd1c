"""arq: `arq with_arq.WorkerSettings`."""

import common
from arq import create_pool, func
from arq.connections import RedisSettings
from common import RESULTS, URL, setting

KEEP_S = 3_600 if RESULTS else 0
REDIS = RedisSettings.from_dsn(URL)


async def empty(ctx):
    return await common.aempty()


async def rest(ctx):
    return await common.arest()


async def stamped(ctx, number):
    return await common.astamped(number)


async def numbered(ctx, number):
    return await common.anumbered(number)


TASKS = (empty, rest, stamped, numbered)


class WorkerSettings:
    functions = tuple(func(task, keep_result=KEEP_S) for task in TASKS)
    redis_settings = REDIS
    keep_result = KEEP_S
    max_jobs = setting("max_jobs")
    poll_delay = setting("poll_delay")
    job_timeout = setting("job_timeout")
    log_results = False


async def main():
    pool = await create_pool(REDIS)
    await common.aserve(lambda task, args: pool.enqueue_job(task, *args))


def produce():
    common.run(main())
