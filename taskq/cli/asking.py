"""The question before what cannot be undone."""

from __future__ import annotations

import sys

import click

from taskq.cli.output import printable

# No variable of the environment answers it.
yes_option = click.option("--yes", "-y", is_flag=True, allow_from_autoenv=False, help="Do not ask.")


def confirm(question: str, yes: bool) -> None:
    """Ask, unless `yes`; no answer but yes ends the command.

    Raises:
        click.UsageError: there is no terminal to ask.
        click.Abort: the answer was no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("this cannot be undone, and no terminal is here to ask: give --yes.")
    click.confirm(printable(question), abort=True, err=True)
