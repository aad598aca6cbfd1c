"""A client that does not wait for the disk, whatever was asked of it: the server's answer does."""

from __future__ import annotations

from collections.abc import Callable

from taskq.broker.durable import Durable, Exchange
from tests.chaos.patching import replace


def apply() -> None:
    replace(Durable, "exchange", _hasty)


def _hasty(_exchange: Callable[[Durable], Exchange]) -> Callable[[Durable], Exchange]:
    def hasty(durable: Durable) -> Exchange:
        return Exchange([command.words() for command in durable.commands], durable.waits[:1])

    return hasty
