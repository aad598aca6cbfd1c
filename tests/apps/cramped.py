"""A machine with no room for a second process, once: the first fork below the fork server fails."""

from __future__ import annotations

import errno
import itertools
import os

from taskq import RetryPolicy, TaskQ, current_task

app = TaskQ("tests")

_fork, _forks = os.fork, itertools.count(1)


def fork() -> int:
    if next(_forks) == 2:  # the first is that of the fork server
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return _fork()


os.fork = fork


@app.task(isolate="process", retry=RetryPolicy(max_retries=1, delay=0.02, factor=1, jitter=False))
def attempt() -> int:
    return current_task().attempt
