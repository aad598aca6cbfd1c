"""A worker whose engine ends when the server is away, as a consumer does that catches no ConnectionError."""

from __future__ import annotations

from taskq.worker import engine
from tests.chaos.patching import replace


def apply() -> None:
    replace(engine, "WAITED_OUT", lambda _: ())
