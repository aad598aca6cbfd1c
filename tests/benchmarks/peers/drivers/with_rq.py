"""RQ: a worker program of its own that imports what tasks need before it forks, as RQ's documentation advises."""

import common
from common import RESULTS, URL, setting
from redis import Redis
from rq import Queue, Retry, Worker

CONNECTION = Redis.from_url(URL)
QUEUE = Queue("default", connection=CONNECTION)
OPTIONS = {"result_ttl": 500 if RESULTS else 0, "retry": Retry(max=setting("retry_max"))}

empty, rest, stamped, numbered = common.empty, common.rest, common.stamped, common.numbered


def work():
    intervals = {name: setting(name) for name in ("job_monitoring_interval", "maintenance_interval")}
    worker = Worker([QUEUE], connection=CONNECTION, **intervals)
    worker.work(logging_level="WARNING")


def produce():
    def many(task, calls):
        QUEUE.enqueue_many([Queue.prepare_data(f"with_rq.{task}", args=args, **OPTIONS) for args in calls])

    common.serve(lambda task, args: QUEUE.enqueue(f"with_rq.{task}", args=args, **OPTIONS), many)
