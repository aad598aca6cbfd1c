"""taskq: `taskq worker with_taskq:app`."""

import common
from common import RESULTS, URL, setting

from taskq import TaskQ

app = TaskQ("bench", redis_url=URL, lease=setting("lease"))
OPTIONS = {} if RESULTS else {"result_ttl": 0}
TASKS = {
    "empty": app.task(name="empty", **OPTIONS)(common.empty),
    "rest": app.task(name="rest", **OPTIONS)(common.arest),
    "stamped": app.task(name="stamped", **OPTIONS)(common.stamped),
    "numbered": app.task(name="numbered", **OPTIONS)(common.numbered),
}


def produce():
    def many(task, calls):
        for outcome in TASKS[task].enqueue_many(calls):
            outcome.get()

    common.serve(lambda task, args: TASKS[task].enqueue(*args), many)
