"""A supervisor that gives back nothing of a process that does not answer: what it prefetched waits with it."""

from __future__ import annotations

from taskq.worker.supervisor import Supervisor
from tests.chaos.patching import replace


def apply() -> None:
    replace(Supervisor, "_return_of_the_silent", lambda _: lambda *_: None)
