"""taskiq: `taskiq worker with_taskiq:broker`, with the broker of taskiq-redis that acknowledges."""

import common
from common import RESULTS, URL, setting
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

broker = RedisStreamBroker(
    URL,
    idle_timeout=setting("idle_timeout"),
    xread_count=setting("xread_count"),
    unacknowledged_lock_timeout=setting("unacknowledged_lock_timeout"),
)
if RESULTS:
    broker = broker.with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=3_600))
TASKS = {name: broker.task(task_name=name)(getattr(common, f"a{name}")) for name in common.NAMES}


async def main():
    await broker.startup()
    await common.aserve(lambda task, args: TASKS[task].kiq(*args))


def produce():
    common.run(main())
