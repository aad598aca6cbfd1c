"""A distributed task queue on Redis.

    from taskq import TaskQ

    app = TaskQ("shop")

    @app.task
    def send_email(to: str, subject: str) -> str: ...

    send_email.enqueue("a@b.c", "hello").result(timeout=10)

`taskq worker MODULE:ATTR` runs what is enqueued. All errors are in `taskq.errors`, drawn as a tree.
"""

from taskq.app import TaskQ
from taskq.bulk import Enqueued
from taskq.context import TaskContext, current_task
from taskq.errors import (
    ArgumentMismatch,
    BackpressureError,
    EnqueueUnknown,
    QueueFull,
    ResultExpired,
    ResultNotStored,
    ResultTimeout,
    SoftTimeout,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TaskNotFound,
    TaskqError,
)
from taskq.group import TaskGroup
from taskq.handle import TaskHandle
from taskq.info import TaskInfo
from taskq.middleware import Middleware
from taskq.record import State
from taskq.retry import Reject, Retry, RetryPolicy
from taskq.secret import Secret
from taskq.task import Task
from taskq.waiting import as_completed, as_completed_async, wait, wait_async

__all__ = [
    # declaring
    "TaskQ",
    "TaskGroup",
    "Task",
    "Middleware",
    "Secret",
    # inside a task
    "current_task",
    "TaskContext",
    "Retry",
    "Reject",
    "RetryPolicy",
    "SoftTimeout",
    # what became of it
    "TaskHandle",
    "TaskInfo",
    "State",
    "Enqueued",
    "wait",
    "wait_async",
    "as_completed",
    "as_completed_async",
    # what can go wrong
    "TaskqError",
    "ArgumentMismatch",
    "EnqueueUnknown",
    "BackpressureError",
    "QueueFull",
    "TaskFailed",
    "TaskCancelled",
    "TaskExpired",
    "TaskNotFound",
    "ResultExpired",
    "ResultNotStored",
    "ResultTimeout",
]
