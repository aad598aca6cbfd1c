"""Processes that end with their supervisor on the spot, as PR_SET_PDEATHSIG has it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from taskq.worker.engine import Engine
from tests.chaos.patching import replace


def apply() -> None:
    replace(Engine, "_told", _loyal)


def _loyal(told: Callable[[Engine], None]) -> Callable[[Engine], None]:
    def loyal(engine: Any) -> None:
        told(engine)
        if engine._channel.closed:
            os.kill(os.getpid(), signal.SIGKILL)

    return loyal
