"""Runs `taskq` broken in one way: `python -m tests.chaos.broken worker …`, with the control in the environment.

A scenario that stays green on its control proves nothing. Controls are modules of tests/chaos/controls, each with
`apply()`, called before anything else is done: a supervisor hands what it changes on to its children.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

VARIABLE = "TASKQ_CHAOS_CONTROL"


def control(name: str) -> Any:
    """Give the module of a control."""
    return importlib.import_module(f"tests.chaos.controls.{name}")


def apply_control() -> None:
    """Break this process as the environment says; nothing is said in a run that counts."""
    if name := os.environ.get(VARIABLE):
        control(name).apply()


if __name__ == "__main__":
    from taskq.cli import main

    apply_control()
    main()
