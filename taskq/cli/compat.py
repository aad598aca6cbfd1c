"""`taskq compat`."""

from __future__ import annotations

import click

from taskq.cli.exits import Exit
from taskq.cli.loading import app_options, resolve_app_spec
from taskq.cli.output import line, show
from taskq.cli.server_options import app_and_server, json_option, url_options
from taskq.cli.values import duration_ms
from taskq.inspector.compat import Compat, Misfit
from taskq.inspector.compat import compat as look
from taskq.inspector.doctor import many
from taskq.names import check_name


@click.command
@click.argument("spec", metavar="[MODULE:APP]", required=False)
@click.option("-Q", "--queues", metavar="LIST", default="", help="Only these queues: mail,default.")
@click.option("--strict", is_flag=True, help="Count tasks that other apps may have as unfit, too.")
@click.option(
    "--timeout",
    metavar="DURATION",
    callback=duration_ms,
    help="Stop after this long: the look is partial then.",
)
@app_options
@url_options
@json_option
def compat(
    spec: str | None,
    queues: str,
    strict: bool,
    timeout: int | None,
    app: str | None,
    app_dir: str,
    url: str | None,
    namespace: str,
    as_json: bool,
) -> Exit:
    """Check every message that waits, runs or is dead against the code of MODULE:APP, before it is deployed.

    Its task must be declared, its arguments must fit the signature and the annotations. Nothing is run. Exit code 1
    if a message does not fit, or if not all were looked at.
    """
    application, server = app_and_server(resolve_app_spec(spec, app), app_dir, url, namespace)
    try:
        steps = look(
            application.name,
            application.tasks,
            application.frames,
            application.payloads,
            server.shards,
            [check_name("the queue", name.strip()) for name in queues.split(",") if name.strip()],
            strict=strict,
            seconds=1e9 if timeout is None else timeout / 1_000,
        )
        found = server.run(steps)
    finally:
        application.close()
        server.broker.close()
    show(as_json, found, _show)
    return Exit.OK if found.fits else Exit.NO


def _show(found: Compat) -> None:
    task: str | None = ""
    for misfit in found.misfits:
        if misfit.task != task:
            task = misfit.task
            line("messages that cannot be read" if task is None else task)
        _show_misfit(misfit)
    if found.others:
        line(f"{many(sum(found.others.values()), 'message')} of tasks that are not this app's:")
        for name, count in found.others.items():
            line(f"  {name}: {count:,}")
    bad = f"{found.unfit:,} of them do not fit" if found.unfit else "all that are this app's fit"
    line(f"{many(found.checked, 'message')} checked against {found.app!r}: {bad}")
    if found.partial:
        line("partial: the time was over before all were looked at")


def _show_misfit(misfit: Misfit) -> None:
    where = ", ".join(f"{count:,} {state}" for state, count in misfit.states.items())
    line(f"  {misfit.reason}: {where}")
    line(f"    {', '.join(misfit.ids)}{', …' if misfit.count > len(misfit.ids) else ''}")
