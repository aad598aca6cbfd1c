"""A worker that ends without a word of what it had: the server finds out when its lease has run out."""

from __future__ import annotations

from taskq.worker.custody import Custody
from taskq.worker.holdings import Holdings
from tests.chaos.patching import replace


def apply() -> None:
    replace(Holdings, "release_unstarted", lambda _: lambda *_: None)
    replace(Holdings, "release_all", lambda _: lambda *_: 0)
    replace(Custody, "inherit", lambda _: lambda *_: None)
