"""Putting other code in the place of taskq's, in this process and those that it forks."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from taskq.broker import command

Changes = Mapping[str, Sequence[tuple[str, str]]]
"""By script, what is replaced by what. A control that alters scripts has them as `CHANGES`."""


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` makes of the present attribute in its place."""
    setattr(owner, name, make(getattr(owner, name)))


def alter(changes: Changes) -> None:
    """Send scripts with some of their text replaced; all that is to be replaced must be found."""
    folder = Path(tempfile.mkdtemp(prefix="taskq-altered-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(command.SCRIPTS, folder / "scripts")
    for name, pairs in changes.items():
        path = folder / "scripts" / f"{name}.lua"
        text = path.read_text("utf-8")
        for old, new in pairs:
            assert old in text, f"{name}.lua does not have {old!r} any more"
            text = text.replace(old, new)
        path.write_text(text, "utf-8")
    command.SCRIPTS = str(folder / "scripts")
    command.script.cache_clear()
    for path in sorted((folder / "scripts").glob("*.lua")):
        command.script(path.stem)  # read now: the folder goes with the supervisor


def altered(changes: Changes) -> dict[str, str]:
    """Give the name of each altered script by its SHA, and alter nothing here."""
    scripts = command.SCRIPTS
    try:
        alter(changes)
        return {command.script(path.stem).sha: path.stem for path in Path(scripts).glob("*.lua")}
    finally:
        command.SCRIPTS = scripts
        command.script.cache_clear()
