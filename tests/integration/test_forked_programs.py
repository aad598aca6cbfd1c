"""Programs that fork after they have used taskq, as servers with several processes do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.commandline import environment
from tests.workers import Yard

PROGRAM = """
import os, sys, threading
from taskq import TaskQ

app = TaskQ("tests", redis_url=sys.argv[1], namespace=sys.argv[2])
work = app.named("tests.tests.apps.deadly.work")
slow = work.enqueue(1)
waiter = threading.Thread(target=lambda: results.append(slow.result(timeout=10)))
results = []
waiter.start()
work.enqueue(0).result(timeout=10)
forks = []
for _ in range(3):
    forks.append(os.fork())
    if forks[-1] == 0:
        for _ in range(20):
            work.enqueue(0).result(timeout=5)
        os._exit(0)
codes = [os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]) for fork in forks]
waiter.join()
print(codes, results)
"""


def test_parent_and_forks_each_hear_of_their_own_tasks(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly")
        program = [sys.executable, "-c", PROGRAM, yard.server.url, yard.namespace]

        said = subprocess.run(
            program, env=environment(), capture_output=True, text=True, timeout=40, check=False
        )

        assert said.stdout == "[0, 0, 0] [1]\n", said.stderr
        assert worker.stop() == 0
        assert yard.leftovers() == []
