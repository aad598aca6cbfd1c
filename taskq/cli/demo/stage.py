"""Where the demo speaks to people: lines, and below them a progress bar while something goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

from taskq.cli.output import cut, printable

if TYPE_CHECKING:
    from rich.console import Console

_APART_S = 2.0
"""Seconds between two lines of progress where there is no bar."""

Advance = Callable[[int], None]

_WIDTH = 80
_INDENT = 13


def entry(title: str, text: str) -> str:
    """Give a line of 80 columns at most: a title, or none, and what stands beside it."""
    return cut(f"{title:<{_INDENT}}{text}", _WIDTH)


class Stage:
    """Speaks to one stream: with a bar if that is a terminal and rich is installed, else in plain lines."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = _console(stream)

    def say(self, text: str = "") -> None:
        """Print a line, above the bar if there is one."""
        if self._console is None:
            click.echo(printable(text), file=self._stream)
        else:
            self._console.print(printable(text), markup=False, highlight=False, emoji=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total: int) -> Generator[Advance]:
        """Show how far something is; what this gives is told how much is done."""
        if self._console is None:
            yield _Lines(self.say, title, total).advance
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (
            TextColumn("{task.description:<13}"),
            BarColumn(None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, expand=True) as progress:
            bar = progress.add_task(title, total=total)
            yield lambda done: progress.update(bar, completed=done)


def _console(stream: TextIO) -> Console | None:
    if not stream.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(file=stream)
    return None if console.is_dumb_terminal else console


class _Lines:
    def __init__(self, say: Callable[[str], None], title: str, total: int) -> None:
        self._say, self._title, self._total = say, title, total
        self._next = time.monotonic() + _APART_S

    def advance(self, done: int) -> None:
        now = time.monotonic()
        if now >= self._next or done == self._total:
            self._next = now + _APART_S
            self._say(f"{self._title:<13} {done:,} of {self._total:,}")
