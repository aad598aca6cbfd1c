"""The worker processes: a supervisor that never runs user code, and the children that do.

Start reading at `supervisor` (the parent: leases, limits, signals), then `child` (who makes whom in a process),
then `engine` (claims and settles). docs/internals.md has the picture.
"""

from taskq.worker.config import WorkerConfig
from taskq.worker.supervisor import Supervisor

__all__ = ["Supervisor", "WorkerConfig"]
