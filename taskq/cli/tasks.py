"""`taskq tasks` and `taskq task`."""

from __future__ import annotations

import click

from taskq.cli.output import compact, cut, fields, instant, line, lines, show, span, table
from taskq.cli.server_options import Server, with_server
from taskq.inspector.detail import Detail, Offloaded, detail
from taskq.inspector.listing import STATES, Filter, Listing, Row
from taskq.inspector.listing import tasks as list_tasks
from taskq.record import State

_ARGS_WIDTH = 3_900


@click.command
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.value for state in STATES]),
    help="Only tasks in this state; may be given several times.",
)
@click.option("--queue", default="", help="Only tasks of this queue.")
@click.option("--task", "name", default="", help="Only tasks of this name.")
@click.option("--tag", default="", help="Only tasks with this tag.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="At most this many of each state.",
)
@with_server
def tasks(
    server: Server, states: tuple[str, ...], queue: str, name: str, tag: str, limit: int, as_json: bool
) -> None:
    """List tasks by state: of each, those that are next, or that ended last.

    Filters look through what stands in the server, for 2 seconds or 10,000 tasks at most; if there is more,
    the output says "partial". Of what succeeded, was cancelled or expired, the last few thousand are known.
    """
    wanted = Filter(queue=queue, task=name, tag=tag)
    steps = list_tasks(
        server.shards, [State(state) for state in dict.fromkeys(states)], wanted, limit, None, server.frames
    )
    show(as_json, server.run(steps), _show)


def _show(found: Listing) -> None:
    if found.tasks:
        table(("ID", "STATE", "TASK", "QUEUE", "ATTEMPT", "WHEN", "DETAIL"), list(map(_cells, found.tasks)))
    elif not found.partial:
        line("There are no such tasks.")
    if found.more:
        line("there are more: --limit lists more of each state")
    if found.partial:
        line(
            f"partial: {found.looked:,} tasks were looked at, and there are more; name a --state or a --queue"
        )


def _cells(row: Row) -> tuple[str | int | None, ...]:
    where = f"{row.queue}:{row.priority}" if row.queue and row.priority is not None else row.queue
    about = row.error or (f"in {row.process}" if row.process else "")
    if row.took_ms is not None and not row.error:
        about = f"took {span(row.took_ms)}"
    about = with_signature(row, about)
    return (row.id, row.state, row.task, where, row.attempt, _when(row), cut(about, 60))


def with_signature(row: Row, about: str) -> str:
    """Say before a row's detail what there is to say of its signature; of a valid one nothing."""
    if row.signature in (None, "valid"):
        return about
    return f"signature {row.signature}" + (f"; {about}" if about else "")


def _when(row: Row) -> str | None:
    if row.due_ms is not None:
        return f"due {instant(row.due_ms)}"
    if row.ended_ms is not None:
        return f"ended {instant(row.ended_ms)}"
    return f"since {instant(row.created_ms)}" if row.created_ms else None


@click.command
@click.argument("id")
@with_server
def task(server: Server, id: str, as_json: bool) -> None:
    """Show everything known of the task ID: where it stands, its arguments, its outcome."""
    show(as_json, server.run(detail(server.keys_of(id), id, server.frames, server.redaction)), show_detail)


def _where_offloaded(found: Offloaded | None) -> str | None:
    return f"offloaded, {found.size:,} bytes, {found.name}" if found else None


def show_detail(found: Detail) -> None:
    """Print one task for people."""
    priority = f", priority {found.priority}" if found.priority is not None else ""
    fields(
        (
            ("id", found.id),
            ("state", found.state),
            ("where", found.where),
            ("task", found.task),
            ("queue", f"{found.queue}{priority}" if found.queue else None),
            ("args", compact(found.args, _ARGS_WIDTH) if found.args else None),
            ("kwargs", compact(found.kwargs, _ARGS_WIDTH) if found.kwargs else None),
            ("arguments", _where_offloaded(found.offloaded)),
            ("attempt", found.attempt),
            ("failures", found.failures or None),
            ("crashes", found.crashes or None),
            ("process", found.process),
            ("created", instant(found.created_ms)),
            ("due", instant(found.due_ms)),
            ("expires", instant(found.expires_ms)),
            ("started", instant(found.started_ms)),
            ("took", span(found.took_ms)),
            ("key", found.key),
            ("tags", ", ".join(found.tags)),
            ("headers", compact(found.headers, _ARGS_WIDTH) if found.headers else None),
            ("max retries", found.max_retries),
            ("timeout", "none" if found.timeout_ms == 0 else span(found.timeout_ms)),
            ("origin", found.origin),
            ("signature", found.signature),
            ("kept for", span(found.keep_ms)),
            ("unreadable", ", ".join(found.unreadable)),
            ("result", compact(found.result, _ARGS_WIDTH) if found.has_result else None),
            ("result", _where_offloaded(found.result_offloaded)),
            ("error", f"{found.error.type}: {found.error.message}" if found.error else None),
        )
    )
    if found.error and found.error.traceback:
        line()
        lines(found.error.traceback)
