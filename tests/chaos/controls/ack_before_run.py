"""Every task is acknowledged before it runs: who dies meanwhile takes it along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskq import TaskQ
from tests.chaos.patching import replace


def apply() -> None:
    replace(TaskQ, "_declare", _early)


def _early(declare: Callable[..., Any]) -> Callable[..., Any]:
    def early(app: TaskQ, function: Callable[..., Any], options: dict[str, Any]) -> Any:
        return declare(app, function, {**options, "ack": "early"})

    return early
