"""`taskq dead list`, `show`, `requeue`, `purge`."""

from __future__ import annotations

import click
import msgspec

from taskq.cli.asking import confirm, yes_option
from taskq.cli.exits import Exit
from taskq.cli.output import cut, instant, line, show, table
from taskq.cli.server_options import Server, with_server
from taskq.cli.tasks import show_detail, with_signature
from taskq.errors import BadMessage, PayloadError, TaskNotFound
from taskq.inspector import dead as letters
from taskq.inspector.dead import Requeued
from taskq.inspector.detail import detail
from taskq.inspector.doctor import many
from taskq.inspector.listing import Filter, Listing
from taskq.inspector.listing import tasks as list_tasks
from taskq.record import State

_queue = click.option("--queue", default="", help="Only dead letters of this queue.")
_task = click.option("--task", "name", default="", help="Only dead letters of this task.")
_all = click.option("--all", "everything", is_flag=True, help="All dead letters of the namespace.")


@click.group
def dead() -> None:
    """Look at tasks that failed for good, and decide what becomes of them."""


@dead.command("list")
@_queue
@_task
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most this many."
)
@with_server
def list_letters(server: Server, queue: str, name: str, limit: int, as_json: bool) -> None:
    """List dead letters, the one that failed last first."""
    steps = list_tasks(
        server.shards, [State.FAILED], Filter(queue=queue, task=name), limit, None, server.frames
    )
    show(as_json, server.run(steps), _show_list)


def _show_list(found: Listing) -> None:
    rows = [
        (
            row.id,
            row.task or row.state,
            row.queue,
            row.attempt,
            instant(row.ended_ms),
            cut(with_signature(row, row.error or ""), 60),
        )
        for row in found.tasks
    ]
    if rows:
        table(("ID", "TASK", "QUEUE", "ATTEMPTS", "FAILED", "ERROR"), rows)
    elif not found.partial:
        line("There are no such dead letters.")
    if found.more:
        line("there are more: --limit lists more")
    if found.partial:
        line(f"partial: {found.looked:,} were looked at, and there are more; name a --queue")


@dead.command("show")
@click.argument("id")
@with_server
def show_letter(server: Server, id: str, as_json: bool) -> None:
    """Show a dead letter: its arguments, its error, the traceback."""
    keys = server.keys_of(id)
    server.run(letters.find(keys, id))
    show(as_json, server.run(detail(keys, id, server.frames, server.redaction)), show_detail)


class Report(msgspec.Struct, frozen=True):
    """What became of dead letters that were to be requeued; `refused` are ids, with the reason."""

    requeued: list[Requeued]
    refused: dict[str, str]


@dead.command("requeue")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_queue
@_task
@_all
@with_server
def requeue_letters(
    server: Server, ids: tuple[str, ...], queue: str, name: str, everything: bool, as_json: bool
) -> Exit:
    """Enqueue the work of dead letters anew: these, or all of a --queue or a --task, or --all.

    Each gets a new id, and its `origin` tells the old one, which stays failed and is no dead letter any more.
    """
    wanted = _wanted(ids, queue, name, everything)
    if ids:
        report = _requeue_each(server, ids)
    else:
        requeued, refused = server.run(
            letters.requeue_all(
                server.shards, wanted, server.keep_ms, server.frames, server.payloads, server.safely
            )
        )
        report = Report(requeued, refused)
    show(as_json, report, _show_report)
    return Exit.NO if report.refused else Exit.OK


def _requeue_each(server: Server, ids: tuple[str, ...]) -> Report:
    requeued: list[Requeued] = []
    refused: dict[str, str] = {}
    for task_id in ids:
        keys = server.keys_of(task_id)
        try:
            queue = server.run(letters.find(keys, task_id))
            steps = letters.requeue(
                keys, queue, task_id, server.keep_ms, server.frames, server.payloads, server.safely
            )
            requeued.append(server.run(steps))
        except (TaskNotFound, BadMessage, PayloadError) as error:
            refused[task_id] = str(error)
    return Report(requeued, refused)


def _show_report(report: Report) -> None:
    for one in report.requeued:
        line(f"{one.origin} is requeued as {one.id} in queue {one.queue!r}")
    if not report.requeued and not report.refused:
        line("There are no such dead letters.")
    for task_id, reason in report.refused.items():
        line(f"taskq: {task_id}: {reason}", error=True)


@dead.command("purge")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@_queue
@_task
@_all
@yes_option
@with_server
def purge_letters(
    server: Server, ids: tuple[str, ...], queue: str, name: str, everything: bool, yes: bool, as_json: bool
) -> Exit:
    """Remove dead letters for good: these, or all of a --queue or a --task, or --all.

    Asks first; --yes answers, and is needed where no terminal is. Exit code 1 if an ID is no dead letter.
    """
    wanted = _wanted(ids, queue, name, everything)
    what = many(len(ids), "dead letter") if ids else f"all dead letters{_named(wanted)}"
    confirm(f"Remove {what} of namespace {server.namespace!r} for good?", yes)
    if ids:
        removed = sum(_purge_one(server, task_id) for task_id in ids)
    else:
        removed = server.run(letters.discard_all(server.shards, wanted))
    show(as_json, {"removed": removed}, lambda _: line(f"{many(removed, 'dead letter')} removed"))
    return Exit.OK if not ids or removed == len(set(ids)) else Exit.NO


def _purge_one(server: Server, task_id: str) -> int:
    keys = server.keys_of(task_id)
    try:
        queue = server.run(letters.find(keys, task_id))
    except TaskNotFound as error:
        line(f"taskq: {error}", error=True)
        return 0
    return server.run(letters.discard(keys, queue, [task_id]))


def _wanted(ids: tuple[str, ...], queue: str, name: str, everything: bool) -> Filter:
    if bool(ids) + bool(queue or name) + everything != 1:
        raise click.UsageError("say which: ids, or --queue or --task, or --all.")
    return Filter(queue=queue, task=name)


def _named(wanted: Filter) -> str:
    task = f" of task {wanted.task!r}" if wanted.task else ""
    return task + (f" in queue {wanted.queue!r}" if wanted.queue else "")
