"""`taskq server`: start, look at and stop the embedded server by hand."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from taskq.broker import embedded
from taskq.broker.embedded import EmbeddedServer
from taskq.errors import BrokerError, ConfigurationError

NOT_RUNNING, BAD_USAGE, FAILED = 1, 2, 3


class _BadUsage(click.ClickException):
    exit_code = BAD_USAGE


class _Failed(click.ClickException):
    exit_code = FAILED


@click.group("server")
def server() -> None:
    """Start, look at and stop the embedded server of a namespace.

    Programs use it by the URL embedded://, or embedded:///DIRECTORY if it was started with --dir. It needs no
    start by hand: whoever uses it starts it, and it ends a minute after its last user. One that was started
    here stays until it is stopped.

    Exit codes: 0 done; 1 status found no server; 2 bad usage, or no server can be had on this machine; 3 the
    server did not start, answer or end.
    """


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option(
            "--dir",
            "directory",
            type=click.Path(file_okay=False, path_type=Path),
            help="Where its data are, in place of the namespace's own directory.",
        ),
        click.option(
            "--namespace",
            metavar="NS",
            default="taskq",
            envvar="TASKQ_NAMESPACE",
            show_default=True,
            show_envvar=True,
            help="Whose server.",
        ),
    ):
        command = option(command)
    return command


@server.command()
@_options
def start(namespace: str, directory: Path | None, as_json: bool) -> None:
    """Start the server, or keep the one that runs; it stays until it is stopped."""
    with _exit_codes():
        found = embedded.ensure(namespace, directory=directory, keep=True)
    if as_json:
        _print(found, namespace, directory)
    else:
        click.echo(f"{'started' if found.started else 'already running'}: {_line(found, directory)}")


@server.command()
@_options
def status(namespace: str, directory: Path | None, as_json: bool) -> None:
    """Say whether the server runs, and where; exit code 1 if it does not."""
    with _exit_codes():
        found = embedded.running(namespace, directory=directory)
    if as_json:
        _print(found, namespace, directory)
    else:
        click.echo(f"running: {_line(found, directory)}" if found else "not running")
    if found is None:
        raise click.exceptions.Exit(NOT_RUNNING)


@server.command()
@_options
def stop(namespace: str, directory: Path | None, as_json: bool) -> None:
    """Stop the server with a flush, whoever uses it."""
    with _exit_codes():
        stopped = embedded.stop(namespace, directory=directory)
    if as_json:
        click.echo(json.dumps({"namespace": namespace, "running": False, "stopped": stopped}))
    else:
        click.echo("stopped" if stopped else "not running")


def _url(directory: Path | None) -> str:
    return f"embedded://{directory.absolute()}" if directory else "embedded://"


def _line(found: EmbeddedServer, directory: Path | None) -> str:
    what = f"{found.kind} {found.version}, pid {found.pid}{'' if found.durable else ', NOT DURABLE'}"
    return f"{what}, data in {found.directory}, URL {_url(directory)}"


def _print(found: EmbeddedServer | None, namespace: str, directory: Path | None) -> None:
    told: dict[str, Any] = {"namespace": namespace, "running": found is not None}
    if found is not None:
        # Its own URL has the password; embedded:// finds it.
        told |= asdict(found) | {"directory": str(found.directory), "url": _url(directory)}
    click.echo(json.dumps(told))


@contextlib.contextmanager
def _exit_codes() -> Generator[None]:
    try:
        yield
    except ConfigurationError as error:
        raise _BadUsage(str(error)) from error
    except BrokerError as error:
        raise _Failed(str(error)) from error
