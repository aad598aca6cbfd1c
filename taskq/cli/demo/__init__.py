"""`taskq demo`: taskq at work on real input, held against the same computation done without it.

indexing     what is computed: facts of files, and their totals; without taskq
tasks        the app that worker processes run; ledger: which of its runs began and ended
killing      one of the worker's processes dies at its work
course       from the first enqueue to the findings, following: until all tasks have ended
findings     what was measured, and what of it is wrong; stage, report: what people see
"""

from __future__ import annotations

import sys

import click

from taskq.cli.exits import Exit
from taskq.cli.output import show
from taskq.cli.server_options import json_option


@click.command
@click.option(
    "--processes", default=2, show_default=True, type=click.IntRange(1, 64), help="Worker processes."
)
@click.option("--allow-fake", is_flag=True, help="Run on fakeredis if this machine has no server.")
@json_option
def demo(processes: int, allow_fake: bool, as_json: bool) -> Exit:
    """See taskq at work, on real input, within a minute.

    Worker processes on an embedded server index every .py file of this Python's standard library and
    site-packages, a task a file. Some tasks are made to fail the first time, one fails for good, and one
    process is killed while it runs tasks. Then the totals stand beside those of the same computation without
    taskq.

    Exit code 1 says that they differ, that something was lost, or that nothing was redelivered. Server and
    data are the demo's own, and removed when it ends.
    """
    from taskq.cli.demo.indexing import find_files
    from taskq.cli.demo.stage import Stage
    from taskq.cli.trial.environment import orderly_end, own_environment

    stage = Stage(sys.stderr if as_json else sys.stdout)
    with own_environment(), orderly_end():
        from taskq.cli.demo.course import perform
        from taskq.cli.demo.report import report

        files = find_files()
        stage.say(
            f"input        {len(files):,} files: {len(files.standard_library):,} of the standard library, "
            f"{len(files.site_packages):,} of site-packages"
        )
        for folder in files.unlisted:
            stage.say(f"             not readable, so left out: {folder}")
        found = perform(list(files), processes, allow_fake, stage)
    show(
        as_json,
        {"ok": not found.problems, "problems": found.problems, "findings": found},
        lambda _: report(found),
    )
    return Exit.NO if found.problems else Exit.OK
