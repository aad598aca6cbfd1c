"""`taskq payloads sweep`."""

from __future__ import annotations

import click

from taskq.cli.output import line, show
from taskq.cli.server_options import Server, with_server
from taskq.cli.values import duration_ms
from taskq.inspector.doctor import many
from taskq.inspector.payloads import AGE_S, Swept
from taskq.inspector.payloads import sweep as sweep_steps


@click.group
def payloads() -> None:
    """Look after the store that large arguments and results are offloaded to."""


@payloads.command
@click.option("--dry-run", is_flag=True, help="Remove nothing; say what would be.")
@click.option(
    "--older",
    metavar="DURATION",
    callback=duration_ms,
    help="Only objects of this age: 1h by default, and 10m at least.",
)
@with_server
def sweep(server: Server, dry_run: bool, older: int | None, as_json: bool) -> None:
    """Remove objects whose task the server knows no more, from the store that TASKQ_OFFLOAD_TO names.

    Workers with a store do it every hour. The server has to be the one that the store is used with: of a task that
    another one knows, this one knows nothing.
    """
    if older is not None and older < 600_000:
        raise click.UsageError("--older is below 10m: an object is written before its message is sent.")
    _ = server.shards
    steps = sweep_steps(
        server.payloads,
        server.broker.namespace,
        AGE_S if older is None else older / 1_000,
        dry_run=dry_run,
    )
    show(as_json, server.run(steps), lambda found: _show(found, dry_run))


def _show(found: Swept, dry_run: bool) -> None:
    said = "would be removed" if dry_run else "removed"
    line(f"{many(found.removed, 'object')} ({found.bytes:,} bytes) {said}, of {found.looked:,} old ones")
