"""Processes below a supervisor, and those that come to it from others."""

from __future__ import annotations

import subprocess
import sys

ADOPTING = """
import ctypes, os, time
from taskq.worker.offspring import reap_adopted

PR_SET_CHILD_SUBREAPER = 36  # as process 1 of a container is one
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1) == 0


def leaving_one(to_end):
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            time.sleep(to_end)
            os._exit(0)
        os._exit(0)
    os.waitpid(child, 0)


def states():
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == os.getpid():
            found.append(state)
    return "".join(sorted(found))


own = os.fork()
if own == 0:
    os._exit(7)
for to_end in (0, 0, 60):
    leaving_one(to_end)
while states().count("Z") < 3:
    time.sleep(0.01)
reap_adopted({own})
print(states().count("Z") >= 1, os.waitstatus_to_exitcode(os.waitpid(own, 0)[1]))
reap_adopted({own})
print(states(), flush=True)
os.killpg(0, 9)
"""


def test_what_was_orphaned_is_waited_for_and_what_is_ones_own_is_left() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ADOPTING], capture_output=True, text=True, timeout=30, start_new_session=True
    )

    assert done.stdout.split() == ["True", "7", "S"], done.stderr  # one sleeps on, and no zombie is left
