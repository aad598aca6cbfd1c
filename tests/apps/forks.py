"""Tasks that fork: what they start is not the worker's."""

from __future__ import annotations

import os
import signal
import time

from taskq import TaskQ
from tests.apps.ledger import noted

app = TaskQ("tests")


@app.task
def end_a_fork(seconds: float) -> int:
    """Fork a process, end it by TERM as a pool ends its own, and go on for a while; gives how it ended."""
    with noted():
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writer, b"x")
            time.sleep(30)
            os._exit(0)
        os.read(reader, 1)
        os.kill(pid, signal.SIGTERM)
        _, status = os.waitpid(pid, 0)
        time.sleep(seconds)
        return os.waitstatus_to_exitcode(status)
