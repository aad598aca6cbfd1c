"""`taskq keys new`."""

from __future__ import annotations

import datetime as dt

import click

from taskq.cli.output import line
from taskq.signing import new_key


@click.group
def keys() -> None:
    """Make keys that messages are signed with."""


@keys.command("new")
@click.option("--id", "key_id", metavar="ID", help="The key's id; the day by default, as k20260131.")
def new(key_id: str | None) -> None:
    """Print a fresh signing key, as TASKQ_SIGNING_KEYS takes it: `id:secret`.

    It is printed once and kept nowhere. Producers and workers all need it.
    """
    line(new_key(key_id or f"k{dt.datetime.now(dt.UTC):%Y%m%d}"))
