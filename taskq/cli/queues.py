"""`taskq queues`, `pause`, `resume`, `max-length`, `purge`."""

from __future__ import annotations

import click

from taskq.cli.asking import confirm, yes_option
from taskq.cli.exits import Exit
from taskq.cli.output import line, show, span, table
from taskq.cli.server_options import Server, with_server
from taskq.errors import TaskqError
from taskq.inspector import operations
from taskq.inspector.doctor import many
from taskq.inspector.queues import Queues
from taskq.inspector.queues import queues as look_at_queues


@click.command
@with_server
def queues(server: Server, as_json: bool) -> None:
    """List the queues of a namespace.

    READY tasks wait for a free worker; OLDEST is how long ago the oldest of those that are next was enqueued;
    PROCESSES is how many worker processes serve the queue. New tasks are refused while as many as MAX LENGTH are READY.
    """
    show(as_json, server.run(look_at_queues(server.shards)), _show)


def _show(found: Queues) -> None:
    if not found.queues:
        line("There are no queues in this namespace yet.")
        return
    columns = (
        "QUEUE",
        "STATE",
        "READY",
        "BY PRIORITY",
        "RUNNING",
        "SCHEDULED",
        "PARKED",
        "DEAD",
        "OLDEST",
        "PROCESSES",
        "MAX LENGTH",
    )
    rows = [
        (
            queue.name,
            "paused" if queue.paused else "on",
            queue.ready,
            " ".join(f"{priority}:{ready}" for priority, ready in queue.by_priority.items()),
            queue.running,
            queue.scheduled,
            queue.parked,
            queue.dead,
            span(queue.oldest_ms),
            queue.processes,
            queue.max_length or "",
        )
        for queue in found.queues
    ]
    table(columns, rows)
    if found.partial:
        line(
            "partial: there is more than could be counted within 2 s; running, scheduled and parked are more"
        )


def _known(server: Server, queue: str) -> None:
    if not server.run(operations.exists(server.shards, queue)):
        raise UnknownQueue(
            f"queue {queue!r} was never used in namespace {server.namespace!r}; see `taskq queues`"
        )


class UnknownQueue(TaskqError):
    """Raised when a queue is named that the namespace has never seen."""


@click.command
@click.argument("queue")
@with_server
def pause(server: Server, queue: str, as_json: bool) -> None:
    """Let workers start nothing more of QUEUE until `taskq resume`.

    What runs goes on, and the queue accepts more. A queue may be paused before it is used.
    """
    server.run(operations.pause(server.shards, queue))
    show(as_json, {"queue": queue, "paused": True}, lambda _: line(f"queue {queue!r} is paused"))


@click.command
@click.argument("queue")
@with_server
def resume(server: Server, queue: str, as_json: bool) -> None:
    """Let workers start tasks of QUEUE again."""
    _known(server, queue)
    server.run(operations.resume(server.shards, queue))
    show(as_json, {"queue": queue, "paused": False}, lambda _: line(f"queue {queue!r} is on"))


_WORDS = {"none": 0, "code": None}


def _number(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    if value in _WORDS:
        return _WORDS[value]
    if not value.isdecimal() or len(value) > 10 or not 1 <= int(value) < 2**31:
        raise click.BadParameter("give a whole number from 1, `none`, or `code`", ctx, param)
    return int(value)


@click.command
@click.argument("queue")
@click.argument("number", metavar="N|none|code", callback=_number)
@with_server
def max_length(server: Server, queue: str, number: int | None, as_json: bool) -> None:
    """Have QUEUE accept no new task while N are ready in it.

    It counts for every program from now on, and more than what code declares: `none` is no bound whatever the code
    says, `code` leaves it to the code again. A queue may be bounded before it is used.
    """
    counts = server.run(operations.set_max_length(server.shards, queue, number))
    show(as_json, {"queue": queue, "max_length": counts or None}, lambda _: line(_said(queue, counts)))


def _said(queue: str, counts: int) -> str:
    if not counts:
        return f"queue {queue!r} has no max_length"
    return f"queue {queue!r} accepts no new task while {many(counts, 'task')} {'is' if counts == 1 else 'are'} ready"


@click.command
@click.argument("queue")
@yes_option
@with_server
def purge(server: Server, queue: str, yes: bool, as_json: bool) -> Exit:
    """Cancel all that is ready in QUEUE now. What is scheduled or runs stays.

    Asks first; --yes answers, and is needed where no terminal is.
    """
    _known(server, queue)
    confirm(f"Cancel all that is ready in queue {queue!r} of namespace {server.namespace!r}?", yes)
    cancelled = server.run(operations.purge(server.shards, queue, server.keep_ms))
    show(
        as_json,
        {"queue": queue, "cancelled": cancelled},
        lambda _: line(f"{many(cancelled, 'task')} of queue {queue!r} cancelled"),
    )
    return Exit.OK
