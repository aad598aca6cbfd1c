"""A client that does not close a connection that broke: it forgets it, and the descriptor stays."""

from __future__ import annotations

from typing import Any

from taskq.worker import link
from tests.chaos.patching import replace


def apply() -> None:
    kept: list[Any] = []

    def close(self: link.Link) -> None:
        kept.append((self._commands, self.blocking))  # pyright: ignore[reportPrivateUsage]
        self._commands = self.blocking = self._behind = None  # pyright: ignore[reportPrivateUsage]
        self.blocked = False

    replace(link.Link, "close", lambda _: close)
