"""What commands print: one JSON document, or text for people. Neither ever carries a control character."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import click

_SHORT_CELL = 10
_WIDEST_CELL = 200
_LONGEST_LINE = 4_000
_MOST_LINES = 500


def show(as_json: bool, document: Any, people: Callable[[Any], None]) -> None:
    """Print `document`: as JSON, or as `people` prints it."""
    if as_json:
        import msgspec  # here, for the help does without

        # ASCII alone: whatever a task's arguments have in them, a terminal sees escapes.
        click.echo(json.dumps(msgspec.to_builtins(document), ensure_ascii=True, indent=2))
    else:
        people(document)


def line(text: str = "", *, error: bool = False) -> None:
    """Print one line to standard output, or to standard error."""
    click.echo(printable(text), err=error)


def lines(text: str, *, error: bool = False) -> None:
    """Print the last 500 lines of a text."""
    for one in text.splitlines()[-_MOST_LINES:]:
        line(cut(one, _LONGEST_LINE), error=error)


def printable(text: str) -> str:
    """Give `text` with each character that is none to see as its escape: it came from who knows whom."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def cut(text: str, width: int) -> str:
    """Give at most `width` characters of `text`."""
    return text if len(text) <= width else text[: width - 1] + "…"


Cell = str | int | float | None


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print rows under their headings, numbers to the right; nothing is shown for None."""
    filled = [
        place for place, column in enumerate(_turned(rows)) if any(cell not in (None, "") for cell in column)
    ]
    if rows:  # a column that says nothing takes no room
        columns = [columns[place] for place in filled]
        rows = [[row[place] for place in filled] for row in rows]
    cells = [[printable(cut(_shown(cell), _WIDEST_CELL)) for cell in row] for row in rows]
    right = [
        bool(rows) and all(cell is None or isinstance(cell, (int, float)) for cell in column)
        for column in _turned(rows)
    ]
    right += [False] * (len(columns) - len(right))
    if not (is_terminal() and _rich_table(columns, cells, right)):
        _plain_table(columns, cells, right)


def fields(pairs: Sequence[tuple[str, Cell]]) -> None:
    """Print names and values, one pair a line; those without a value are left out."""
    known = [(name, value) for name, value in pairs if value is not None and value != ""]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        line(cut(f"{name:<{width}}  {_shown(value)}", _LONGEST_LINE))


def _turned(rows: Sequence[Sequence[Cell]]) -> list[tuple[Cell, ...]]:
    return list(zip(*rows, strict=True))


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:,.1f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def is_terminal() -> bool:
    """True if a terminal shows the output."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def coloured(text: str, colour: str | None) -> str:
    """Give `text` in a colour, where a terminal shows it and NO_COLOR does not forbid it."""
    if colour is None or os.environ.get("NO_COLOR") or not is_terminal():
        return text
    return click.style(text, fg=colour)


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, (column, to_right) in enumerate(zip(columns, right, strict=True)):
        # A row is a line. What people copy, and short words, stay whole; the rest is cut in a narrow terminal.
        width = max([len(column), *(len(row[place]) for row in cells)])
        whole = place == 0 or width <= _SHORT_CELL
        drawn.add_column(
            Text(column, no_wrap=True, overflow="ellipsis"),
            justify="right" if to_right else "left",
            no_wrap=whole,  # to rich, a column that does not wrap is one that is not made narrower
            min_width=width if whole else None,
            header_style="bold",
        )
    for row in cells:
        # As Text: what a task is named is no markup.
        drawn.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
    Console().print(drawn)
    return True


def _plain_table(columns: Sequence[str], cells: Sequence[Sequence[str]], right: Sequence[bool]) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in (columns, *cells):
        padded = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def instant(ms: int | None) -> str | None:
    """Give an instant in ms since the epoch as UTC, to the second."""
    if ms is None:
        return None
    try:
        return datetime.fromtimestamp(ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def span(ms: int | None) -> str | None:
    """Give a duration in ms in the unit that suits it: `12 ms`, `3.4 s`, `5 m`, `2 h`, `9 d`."""
    if ms is None:
        return None
    if ms < 1_000:
        return f"{ms} ms"
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "m")):
        if ms >= 2 * size:
            return f"{ms // size} {unit}"
    return f"{ms / 1_000:.1f} s"


def compact(value: Any, width: int) -> str:
    """Give a JSON value on one line of at most `width` characters."""
    return cut(json.dumps(value, ensure_ascii=False), width)
