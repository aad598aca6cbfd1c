"""`taskq dev`: the processes of production on an embedded server, in one terminal."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import click

from taskq.cli.worker import processes_option, worker_config, worker_options


@click.command()
@worker_options
@processes_option
@click.option(
    "--reload/--no-reload", default=None, help="Replace processes when code changes; on if it can be."
)
def dev(reload: bool | None, **options: Any) -> int:
    """Run an app on an embedded server, in one terminal; Ctrl-C ends it.

    The server's data stay between runs; it ends a minute after its last user. Producers in other terminals use
    TASKQ_REDIS_URL=embedded:// to reach it.
    """
    from taskq.worker import Supervisor

    os.environ["TASKQ_REDIS_URL"] = "embedded://"  # for the app, too: its tasks enqueue to the same server
    if reload is None:
        reload = importlib.util.find_spec("watchfiles") is not None
    return Supervisor(worker_config(url="embedded://", reload=reload, **options)).run()
