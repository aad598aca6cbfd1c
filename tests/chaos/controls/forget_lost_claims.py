"""A worker that does not ask again for what a lost reply gave it, and whose beats keep all that it is said to hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskq.worker.life import Life
from tests.chaos.patching import replace


def apply() -> None:
    replace(Life, "end_seq", _forgetful)


def _forgetful(end_seq: Callable[[Life], Any]) -> Callable[[Life], Any]:
    def forgetful(life: Any) -> Any:
        life._seq += 1  # a repeat of the last claim would have its tasks
        return end_seq(life)

    return forgetful
