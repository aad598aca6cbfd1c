"""Huey: `huey_consumer with_huey.huey`."""

import common
from common import RESULTS, URL
from huey import RedisHuey

huey = RedisHuey("bench", url=URL, results=RESULTS)
TASKS = {name: huey.task(name=name)(getattr(common, name)) for name in common.NAMES}


def produce():
    common.serve(lambda task, args: TASKS[task](*args))
