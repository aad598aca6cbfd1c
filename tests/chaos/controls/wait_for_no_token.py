"""A worker that does not listen for tokens: it sleeps until something else wakes it."""

from __future__ import annotations

from taskq.worker.link import Link
from tests.chaos.patching import replace


def apply() -> None:
    replace(Link, "block", lambda _: lambda *_: None)
