"""The command line. Each command is imported when it is used, for `taskq --help` is to come at once.

A command returns an exit code of `exits`, or None for 0. Errors of taskq become one line on standard error
here and nowhere else; `TASKQ_DEBUG=1` shows where they came from.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from taskq.cli.exits import Exit, code_of
from taskq.cli.output import printable
from taskq.cli.root import root as commands
from taskq.errors import BrokerUnavailable, TaskqError

__all__ = ["main", "run"]


def main() -> None:
    """Run the command that the process was started with, and end the process."""
    _open_standard_streams()
    sys.exit(run(sys.argv[1:]))


def _open_standard_streams() -> None:
    """Put streams that lead nowhere in the place of closed ones, which the next file or socket would take."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - it stays open
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def run(arguments: Sequence[str]) -> int:
    """Run one command; gives its exit code."""
    try:
        code = commands.main(list(arguments), prog_name="taskq", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())  # the whole help: it was asked for by saying nothing
        return Exit.OK
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "taskq"
        said = error.format_message().rstrip(".")
        stop = "" if said.endswith("?") else "."
        return _end(f"{said}{stop} See `{command} --help`.", Exit.USAGE, error)
    except click.ClickException as error:
        return _end(error.format_message(), error.exit_code, error)
    except click.Abort as error:
        interrupted = isinstance(error.__cause__, KeyboardInterrupt)
        return _end("interrupted" if interrupted else "nothing was done", Exit.INTERRUPTED, error)
    except BrokerUnavailable as error:
        hint = "is it running, and is its URL right (--url, TASKQ_REDIS_URL)?"
        return _end(f"{str(error).rstrip('.')}; {hint}", code_of(error), error)
    except TaskqError as error:
        return _end(str(error), code_of(error), error)
    except Exception as error:  # noqa: BLE001 (a bug of ours is told as one)
        traceback.print_exc()
        return _end(f"this is a bug of taskq: {error!r}", Exit.BUG, error)
    return code if isinstance(code, int) else Exit.OK


def _end(message: str, code: int, error: Exception) -> int:
    if os.environ.get("TASKQ_DEBUG") and code != Exit.BUG:
        traceback.print_exception(error)
    one_line = " ".join(message.split())
    click.echo(f"taskq: {printable(one_line)}", err=True)
    return code
