"""A client that takes WAITAOF at its word, whatever server says it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskq.broker import durable
from tests.chaos.patching import replace


def apply() -> None:
    replace(durable, "waitaof_is_true", _always)


def _always(_asked: Callable[[str], bool]) -> Any:
    return lambda _info: True
