"""`taskq queues`, `pause`, `resume`, `purge`."""

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
    PROCESSES is how many worker processes serve the queue.
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
