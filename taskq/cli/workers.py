"""`taskq workers` and `registered`."""

from __future__ import annotations

import time

import click

from taskq.cli.output import instant, line, show, span, table
from taskq.cli.server_options import Server, with_server
from taskq.inspector.processes import Process, Registered, processes
from taskq.inspector.processes import registered as list_registered


@click.command
@with_server
def workers(server: Server, as_json: bool) -> None:
    """List worker processes: where each runs, what it serves, how many tasks it holds.

    LEASE is how long a process may be silent from now before others take over what it holds.
    """
    show(
        as_json, {"processes": server.run(processes(server.shards))}, lambda found: _show(found["processes"])
    )


def _show(found: list[Process]) -> None:
    if not found:
        line("No worker process is known in this namespace.")
        return
    now_ms = time.time_ns() // 1_000_000
    rows = [
        (
            process.id,
            process.name,
            process.host,
            str(process.pid) if process.pid is not None else None,
            process.app,
            ",".join(process.queues),
            process.concurrency,
            process.holds,
            span(now_ms - process.started_ms) if process.started_ms else None,
            span(process.lease_ms) or "over",
            process.version,
        )
        for process in found
    ]
    columns = (
        "PROCESS",
        "NAME",
        "HOST",
        "PID",
        "APP",
        "QUEUES",
        "SLOTS",
        "HOLDS",
        "UP",
        "LEASE",
        "VERSION",
    )
    table(columns, rows)


@click.command
@with_server
def registered(server: Server, as_json: bool) -> None:
    """List the tasks that workers have registered, with the queue that each is declared in.

    KNOWN BY is how many worker processes that live now know the task.
    """
    found = server.run(list_registered(server.shards))
    show(as_json, {"tasks": found}, lambda _: _show_registered(found))


def _show_registered(found: list[Registered]) -> None:
    if not found:
        line("No worker has registered a task in this namespace yet.")
        return
    rows = [(task.name, task.queue, task.processes, instant(task.registered_ms)) for task in found]
    table(("TASK", "QUEUE", "KNOWN BY", "LAST REGISTERED"), rows)
