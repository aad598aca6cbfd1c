"""Putting other code in the place of taskq's, in this process and those that it forks."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from taskq.broker import command


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of the present attribute in its place."""
    setattr(owner, name, make(getattr(owner, name)))


def alter(changes: Mapping[str, tuple[str, str]]) -> None:
    """Send scripts with some of their text replaced; each must be found."""
    folder = Path(tempfile.mkdtemp(prefix="taskq-altered-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(command.SCRIPTS, folder / "scripts")
    for name, (old, new) in changes.items():
        path = folder / "scripts" / f"{name}.lua"
        text = path.read_text("utf-8")
        assert old in text, f"{name}.lua does not have {old!r} any more"
        path.write_text(text.replace(old, new), "utf-8")
    command.SCRIPTS = str(folder / "scripts")
    command.script.cache_clear()
    for name in changes:
        command.script(name)  # read now: the folder goes with the supervisor
