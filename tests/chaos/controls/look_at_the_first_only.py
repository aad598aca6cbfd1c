"""A sweeper that looks at the first four processes only, in the order in which they came.

XAUTOCLAIM from 0-0 with a COUNT does so, where what is first in the list of pending entries is alive.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from taskq.worker.sweeper import Sweeper
from tests.chaos.patching import replace

Read = Callable[[Sweeper], dict[str, int]]


def apply() -> None:
    replace(Sweeper, "_read", lambda read: lambda sweeper: dict(islice(read(sweeper).items(), 4)))
