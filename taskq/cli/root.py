"""The `taskq` command: what commands there are, where each lives, and what stands in the help."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any, NamedTuple

import click

from taskq.cli.exits import HELP, Exit
from taskq.cli.project import check_commands, check_table, defaults, option_name, project_table


class Entry(NamedTuple):
    """One command: its module, the command's name there, and its line in the help."""

    module: str
    attribute: str
    help: str


COMMANDS: dict[str, dict[str, Entry]] = {
    "Run": {
        "dev": Entry("taskq.cli.dev", "dev", "Run an app on an embedded server, in one terminal."),
        "worker": Entry("taskq.cli.worker", "worker", "Run worker processes for an app."),
        "server": Entry("taskq.cli.server", "server", "Start, show or stop the embedded server."),
        "demo": Entry("taskq.cli.demo", "demo", "See taskq at work, on real input, within a minute."),
        "bench": Entry(
            "taskq.cli.bench", "bench", "Measure how fast it is on your server, and what limits it."
        ),
    },
    "Look": {
        "queues": Entry("taskq.cli.queues", "queues", "List queues: what waits, what runs, who serves them."),
        "tasks": Entry("taskq.cli.tasks", "tasks", "List tasks by state."),
        "task": Entry("taskq.cli.tasks", "task", "Show everything known of one task."),
        "result": Entry("taskq.cli.calls", "result", "Print the result of a task, or wait for it."),
        "workers": Entry("taskq.cli.workers", "workers", "List worker processes."),
        "registered": Entry("taskq.cli.workers", "registered", "List the tasks that workers know."),
        "compat": Entry("taskq.cli.compat", "compat", "Check what waits against the code to be deployed."),
        "doctor": Entry("taskq.cli.doctor", "doctor", "Find what is wrong with the server or the namespace."),
    },
    "Act": {
        "enqueue": Entry("taskq.cli.calls", "enqueue", "Enqueue a task by its name."),
        "replay": Entry("taskq.cli.replay", "replay", "Run a task that has ended once more, here."),
        "cancel": Entry("taskq.cli.calls", "cancel", "Cancel a task."),
        "dead": Entry("taskq.cli.dead", "dead", "List, show, requeue or purge dead letters."),
        "payloads": Entry("taskq.cli.payloads", "payloads", "Remove offloaded payloads that no task needs."),
        "pause": Entry("taskq.cli.queues", "pause", "Let workers start nothing more of a queue."),
        "resume": Entry("taskq.cli.queues", "resume", "Let workers start tasks of a queue again."),
        "max-length": Entry(
            "taskq.cli.queues", "max_length", "Refuse new tasks while so many are ready in a queue."
        ),
        "purge": Entry("taskq.cli.queues", "purge", "Cancel all that is ready in a queue."),
    },
    "Set up": {
        "config": Entry(
            "taskq.cli.config", "config", "Show every setting, its value and where it comes from."
        ),
        "keys": Entry("taskq.cli.keys", "keys", "Make keys that messages are signed with."),
        "completion": Entry("taskq.cli.about", "completion", "Print the completion script of a shell."),
        "version": Entry("taskq.cli.about", "version", "Print the versions of what runs here."),
    },
}
"""The commands by section, in the order of the help."""

_ALL = {name: entry for section in COMMANDS.values() for name, entry in section.items()}


class Root(click.Group):
    """Imports a command's module when the command is used; a command without a module does not exist."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's)
        return [name for name, entry in _ALL.items() if importlib.util.find_spec(entry.module)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = _ALL.get(cmd_name)
        if entry is None or not importlib.util.find_spec(entry.module):
            return None
        command: click.Command = getattr(importlib.import_module(entry.module), entry.attribute)
        name_variables(command, f"TASKQ_{cmd_name.replace('-', '_')}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # for this one error

            close = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            if not close:
                raise
            raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", error.ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        there = self.list_commands(ctx)
        for section, entries in COMMANDS.items():
            rows = [(name, entry.help) for name, entry in entries.items() if name in there]
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever reads has what it wanted. What Python still flushes at its end must go nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return Exit.PIPE
        return code


def name_variables(command: click.Command, prefix: str) -> None:
    """Let each option be set by the variable that its own name says: `--log-json` by TASKQ_WORKER_LOG_JSON."""
    for param in command.params:
        if isinstance(param, click.Option) and param.allow_from_autoenv and param.envvar is None:
            param.envvar = f"{prefix}_{option_name(param)}".upper()
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            name_variables(inner, f"{prefix}_{name}")


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from taskq.cli.about import taskq_version

        click.echo(f"taskq {taskq_version()}")
        ctx.exit()


@click.group(
    cls=Root,
    epilog=HELP,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print it."
)
@click.pass_context
def root(ctx: click.Context) -> None:
    """Run, watch and steer task queues on Redis or Valkey.

    The server is named by --url, TASKQ_REDIS_URL or REDIS_URL; without one, a running embedded server of the
    namespace is used. Every option of a command may be set by TASKQ_<COMMAND>_<OPTION>.
    """
    table = project_table()
    command = ctx.invoked_subcommand
    if table and command is not None and (found := root.get_command(ctx, command)):
        check_commands(table, tuple(_ALL))
        check_table(table, command, found)
        ctx.default_map = {command: defaults(table, command, found)}
