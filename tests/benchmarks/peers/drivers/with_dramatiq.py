"""Dramatiq: `dramatiq with_dramatiq`."""

import common
import dramatiq
from common import RESULTS, URL, setting
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

broker = RedisBroker(
    url=URL,
    heartbeat_timeout=setting("heartbeat_timeout"),
    maintenance_chance=setting("maintenance_chance"),
)
if RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)
OPTIONS = {"store_results": True} if RESULTS else {}
TASKS = {name: dramatiq.actor(getattr(common, name), actor_name=name, **OPTIONS) for name in common.NAMES}


def produce():
    common.serve(lambda task, args: TASKS[task].send(*args))
