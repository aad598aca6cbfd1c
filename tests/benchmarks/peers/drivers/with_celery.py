"""Celery: `celery -A with_celery worker`."""

import common
from celery import Celery
from common import RESULTS, URL, setting

app = Celery("with_celery", broker=URL, backend=URL if RESULTS else None)
app.conf.update(
    task_acks_late=setting("task_acks_late"),
    task_reject_on_worker_lost=setting("task_reject_on_worker_lost"),
    task_ignore_result=not RESULTS,
    broker_transport_options={
        name: setting(name)
        for name in ("visibility_timeout", "unacked_restore_interval", "unacked_restore_throttle")
    },
    broker_connection_retry_on_startup=True,
)
TASKS = {name: app.task(getattr(common, name), name=name) for name in common.NAMES}


def produce():
    common.serve(lambda task, args: TASKS[task].delay(*args))
