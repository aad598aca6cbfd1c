"""`taskq bench`: how fast taskq is here, on the user's own server, and what limits it.

ground       a namespace of its own on that server, looked over before, and removed without a rest
leftovers    the namespaces of runs that were killed, which the next run removes
tasks        the app that worker processes run
gauges       what is read of the server and of processes before and after a stretch of work
producing    enqueues, one by one, in batches, many at once; draining: workers empty the queue
waiting      a PING, and a task for an idle worker
course       all of that in turn
measured     the figures; limits: what they say, in words; report: what people see
"""

from __future__ import annotations

import click

from taskq.cli.exits import Exit
from taskq.cli.output import line, show
from taskq.cli.server_options import json_option
from taskq.worker.config import cpu_count

_MOST_PROCESSES = 4


def _bytes(ctx: click.Context, param: click.Parameter, value: str) -> int:
    from taskq.sizes import to_bytes

    try:
        return to_bytes(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


@click.command
@click.option("--url", envvar="TASKQ_REDIS_URL", metavar="URL", help="The server. Or TASKQ_REDIS_URL.")
@click.option(
    "--namespace",
    envvar="TASKQ_NAMESPACE",
    metavar="NAME",
    default="taskq",
    show_default=True,
    help="Whose embedded server, if no server is named. Or TASKQ_NAMESPACE.",
)
@click.option("--quick", is_flag=True, help="Less exact, and within 15 s where the server is near.")
@click.option(
    "-p",
    "--processes",
    default=lambda: min(cpu_count(), _MOST_PROCESSES),
    show_default="one a CPU, 4 at most",
    type=click.IntRange(1, 64),
    help="Worker processes, where there are several.",
)
@click.option(
    "--tasks",
    type=click.IntRange(1_000, 1_000_000),
    metavar="N",
    help="Tasks a drain. By default what takes some seconds, 100,000 at most.",
)
@click.option(
    "--payload",
    default="0",
    callback=_bytes,
    metavar="SIZE",
    show_default=True,
    help="Bytes that each task has as an argument, as 2000 or 10KB.",
)
@json_option
def bench(
    url: str | None,
    namespace: str,
    quick: bool,
    processes: int,
    tasks: int | None,
    payload: int,
    as_json: bool,
) -> Exit:
    """Measure how fast taskq is on your server, and say what limits it.

    Takes a minute at most. It enqueues tasks that do nothing, and runs worker processes here that drain them,
    in a namespace of its own, which is removed when it ends. Others who use the server feel it meanwhile.

    The server is the one that other commands use. If none is named and none runs, it starts an embedded one
    of its own.
    """
    from taskq.cli.bench.course import Plan, perform
    from taskq.cli.bench.ground import find_server
    from taskq.cli.bench.report import report

    found = perform(Plan(processes, tasks, payload, quick), find_server(url, namespace), _progress)
    show(as_json, found, report)
    return Exit.OK


def _progress(text: str) -> None:
    line(f"taskq: {text}", error=True)
