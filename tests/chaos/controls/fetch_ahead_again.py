"""A worker that, having given back what it fetched ahead in vain, fetches ahead again."""

from __future__ import annotations

from taskq.worker.prefetch import Prefetch
from tests.chaos.patching import replace


def apply() -> None:
    replace(Prefetch, "released", lambda _: lambda *_: None)
