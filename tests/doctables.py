"""What the documentation's tables say, and the commands that there are, for tests that hold one against the other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from taskq.cli.root import COMMANDS, root

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
Row = dict[str, str]

_BAR = re.compile(r"(?<!\\)\|(?=(?:[^`]*`[^`]*`)*[^`]*$)")
_CODE = re.compile(r"`([^`]+)`")


def rows(page: Path, first: str) -> Iterator[Row]:
    """Give the rows of those tables of a page whose first column is `first`, by the names of their columns."""
    names: list[str] = []
    for line in page.read_text("utf-8").splitlines():
        if not line.startswith("|"):
            names = []
            continue
        cells = [cell.strip() for cell in _BAR.split(line)[1:-1]]
        if not names:
            names = cells
        elif names[0] == first and not set(line) <= set("|- "):
            yield dict(zip(names, cells, strict=True))


def code(cell: str) -> list[str]:
    """Give what stands in code in a cell."""
    return _CODE.findall(cell)


def commands() -> Iterator[tuple[str, click.Command]]:
    """Give every command that does something, by the words it is called with."""
    context = click.Context(root)
    for section in COMMANDS.values():
        for name in section:
            command = root.get_command(context, name)
            assert command is not None, name
            if isinstance(command, click.Group):
                yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
            else:
                yield name, command
