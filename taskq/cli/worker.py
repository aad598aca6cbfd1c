"""`taskq worker`: run worker processes for an app."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from taskq.cli.loading import app_options, resolve_app_spec
from taskq.cli.values import duration_ms
from taskq.worker.config import WorkerConfig, cpu_count, parse_queues

_UNITS = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def _processes(ctx: click.Context, param: click.Parameter, value: str) -> int:
    if value == "auto":
        return cpu_count()
    if not value.isdecimal() or value == "0":
        raise click.BadParameter("give a whole number of 1 or more, or `auto`", ctx, param)
    return int(value)


def _bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    if value is None:
        return 0
    number, unit = value.strip().upper().removesuffix("B"), ""
    if number[-1:] in _UNITS:
        number, unit = number[:-1], number[-1]
    if not number.isdecimal():
        raise click.BadParameter("write it as 500M or 2G", ctx, param)
    return int(number) * _UNITS[unit]


def _range(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    least, _, most = value.partition(",")
    if not (least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most)):
        raise click.BadParameter("write it as MIN,MAX, for example 2,8", ctx, param)
    return int(least), int(most)


def worker_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `worker` and `dev` have in common."""
    milliseconds: dict[str, Any] = {"metavar": "TIME", "callback": duration_ms}
    options = (
        click.argument("spec", metavar="[MODULE:APP]", required=False),
        click.option("--namespace", envvar="TASKQ_NAMESPACE", metavar="NAME", help="In place of the app's own."),
        click.option("-Q", "--queues", metavar="LIST", help="mail,default (in order) or mail=3,default=1 (weighted)."),
        click.option("-c", "--concurrency", default=8, show_default=True, help="Tasks at once in one process."),
        click.option("--grace", default="30s", show_default=True, **milliseconds, help="For running tasks at a stop."),
        click.option("--kill-after", default="3s", show_default=True, **milliseconds,
                     help="What a task has to end once it is timed out; with a process of its own, cancelled too."),
        click.option("--max-tasks", default=0, metavar="N", help="Replace a process after N tasks."),
        click.option("--max-memory", callback=_bytes, metavar="SIZE", help="Replace a process over it, as 500M."),
        click.option("--max-age", **milliseconds, help="Replace a process after this time."),
        click.option("--lease", "--visibility-timeout", "lease", **milliseconds, help="In place of the app's own."),
        click.option("--health", metavar="HOST:PORT", help="Answer /livez and /readyz there."),
        click.option("-l", "--log-level", default="INFO", show_default=True,
                     type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False)),
        click.option("--log-json", is_flag=True, help="One JSON object a line."),
        click.option("--log-tasks", is_flag=True, help="A line a task in place of one a batch."),
        click.option("-n", "--name", default="", help="What `taskq workers` shows; host and process id by default."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return app_options(command)


def worker_config(
    spec: str | None,
    app: str | None,
    queues: str | None,
    grace: int,
    kill_after: int,
    max_age: int | None,
    lease: int | None,
    **rest: Any,
) -> WorkerConfig:
    """Make the configuration of what the command line gave.

    Raises:
        ConfigurationError: it cannot be meant.
    """
    names, weights = parse_queues(queues) if queues else ((), ())
    return WorkerConfig(
        app=resolve_app_spec(spec, app),
        queues=names,
        weights=weights,
        grace_ms=grace,
        kill_after_ms=kill_after,
        max_age_ms=max_age or 0,
        lease_ms=lease,
        start_method=os.environ.get("TASKQ_START_METHOD") or WorkerConfig(app="").start_method,
        **rest,
    )


processes_option = click.option(
    "-p",
    "--processes",
    default="1",
    callback=_processes,
    metavar="N|auto",
    show_default=True,
    help="Processes at once; auto: one a CPU.",
)


@click.command()
@worker_options
@click.option("--url", envvar="TASKQ_REDIS_URL", metavar="URL", help="The server. Or TASKQ_REDIS_URL.")
@processes_option
@click.option("--autoscale", callback=_range, metavar="MIN,MAX", help="As many processes as the work needs.")
@click.option("--burst", is_flag=True, help="End when the queues are empty.")
@click.option("--reload", is_flag=True, help="Replace the processes when a .py file below --app-dir changes.")
def worker(autoscale: tuple[int, int] | None, processes: int, **options: Any) -> int:
    """Run worker processes for an app.

    TERM or INT stops it: running tasks have --grace to end, then they go back to the queue; a second signal stops
    at once. HUP replaces the processes one by one by such that import the code anew.
    """
    from taskq.worker import Supervisor

    least, most = autoscale or (processes, 0)
    return Supervisor(worker_config(processes=least, max_processes=most, **options)).run()
