"""A worker and a client that ask their own machine for the time, where they should ask the server."""

from __future__ import annotations

import time

from taskq.broker.namespace import Namespace
from tests.chaos.patching import replace


def apply() -> None:
    replace(Namespace, "now_ms", lambda _: _own_ms)


def _own_ms(_namespace: Namespace) -> int:
    return round(time.time() * 1_000)
