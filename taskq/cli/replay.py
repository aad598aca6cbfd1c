"""`taskq replay`."""

from __future__ import annotations

import click

from taskq.cli.exits import Exit
from taskq.cli.loading import app_options, resolve_app_spec
from taskq.cli.output import compact, line, lines, show
from taskq.cli.server_options import app_and_server, json_option, url_options
from taskq.testing.replay import Replayed, find_ended
from taskq.testing.replay import replay as run_again
from taskq.worker.appearance import set_up_logs
from taskq.worker.config import WorkerConfig


@click.command
@click.argument("id")
@click.option("--pdb", "debug", is_flag=True, help="Open Python's debugger where the task fails.")
@app_options
@url_options
@json_option
def replay(
    id: str, debug: bool, app: str | None, app_dir: str, url: str | None, namespace: str, as_json: bool
) -> Exit:
    """Run the task ID once more, here, with its own arguments, and print its result or its traceback.

    It must have failed for good, or have ended while declared with keep_message=True. Its record stays as it is. What
    the task does to the world, it does again. Exit code 1 if it fails.
    """
    spec = resolve_app_spec(None, app)
    application, server = app_and_server(spec, app_dir, url, namespace)
    try:
        ended = server.run(find_ended(server.keys_of(id), id, application.frames))
        set_up_logs(WorkerConfig(app=spec))
        line(
            f"taskq: {id} runs here once more: what {ended.message.task} does to the world, it does again",
            error=True,
        )
        done = run_again(application, server.broker.namespace, ended, _debug if debug else None)
    finally:
        application.close()
        server.broker.close()
    show(as_json, done, _show)
    return Exit.OK if done.error is None else Exit.NO


def _debug(error: BaseException, done: Replayed) -> None:
    import pdb  # noqa: T100 - it was asked for

    if done.error is not None:
        line(f"taskq: {type(error).__name__}: {done.error.message}", error=True)
    pdb.post_mortem(error.__traceback__)


def _show(done: Replayed) -> None:
    if done.error is None:
        line(compact(done.result, 1 << 30))
        return
    lines(done.error.traceback, error=True)
    line(f"taskq: task {done.id} failed: {done.error.type}: {done.error.message}", error=True)
