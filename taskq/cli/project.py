"""`[tool.taskq]` of the current directory's pyproject.toml: a project's defaults, for the command line only.

[tool.taskq]
app = "shop.tasks:app"

[tool.taskq.worker]
processes = 4
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click

from taskq.errors import ConfigurationError

FILE = "pyproject.toml"
_COMMON = ("app", "app_dir")
_WHERE = ("url", "redis_url", "namespace")
_THE_APPS = ("lease", "visibility_timeout", "result_ttl", "dedupe_ttl", "dead_ttl", "max_age")


def project_table() -> dict[str, Any]:
    """Read `[tool.taskq]`, empty if there is none; names are spelled with `_` then.

    Raises:
        ConfigurationError: the file is no TOML, or names a server or a namespace.
    """
    path = Path(FILE)
    if not path.is_file():
        return {}
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{FILE} cannot be read: {error}") from error
    return table_of(text)


def table_of(text: str) -> dict[str, Any]:
    """As `project_table`, of the file's text."""
    import tomllib

    try:
        tool = tomllib.loads(text).get("tool", {})
        return _spelled(cast("dict[str, Any]", tool).get("taskq", {})) if isinstance(tool, dict) else {}
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{FILE} cannot be read: {error}") from error


def _spelled(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"[tool.taskq] of {FILE} is no table")
    table = cast("dict[str, Any]", value)
    found: dict[str, Any] = {}
    for name, value in table.items():
        spelled = name.replace("-", "_")
        if spelled in _THE_APPS:
            raise ConfigurationError(
                f"[tool.taskq] of {FILE} may not set {name!r}: producers must know it too, and they do not read "
                "this file; give it to TaskQ(…) in the code"
            )
        if spelled in _WHERE:
            raise ConfigurationError(
                f"[tool.taskq] of {FILE} may not set {name!r}: a checkout must not choose where tasks go; "
                "use TASKQ_REDIS_URL, TASKQ_NAMESPACE, or the app's code"
            )
        found[spelled] = _spelled(value) if isinstance(value, dict) else value
    return found


def check_commands(table: dict[str, Any], commands: Sequence[str]) -> None:
    """Hold the table against the names of the commands.

    Raises:
        ConfigurationError: something in it is neither a setting nor the table of a command.
    """
    for name, value in table.items():
        if name not in _COMMON and not (name in commands and isinstance(value, dict)):
            raise ConfigurationError(f"[tool.taskq] of {FILE}: {name!r} is no setting and no command's table")


def option_name(param: click.Parameter) -> str:
    """The name of an option as it is written on the command line, with `_`: what files and variables call it."""
    return max(param.opts, key=len).lstrip("-").replace("-", "_")


def check_table(table: dict[str, Any], command: str, found: click.Command) -> None:
    """Hold the table of one command against its options.

    Raises:
        ConfigurationError: something in it is no option.
    """
    options = [option_name(param) for param in found.params if isinstance(param, click.Option)]
    for name in table.get(command, {}):
        if name not in options:
            raise ConfigurationError(
                f"[tool.taskq.{command}] of {FILE}: `taskq {command}` has no option {name!r}"
            )


def defaults(table: dict[str, Any], command: str, found: click.Command) -> dict[str, Any]:
    """Give what the table says for one command, as click's `default_map` has it."""
    common = {name: table[name] for name in _COMMON if name in table}
    if isinstance(found, click.Group):
        return dict.fromkeys(found.commands, common)
    params = {option_name(param): param for param in found.params if isinstance(param, click.Option)}
    own: dict[str, Any] = {}
    for name, value in table.get(command, {}).items():
        param = params[name]
        own[str(param.name)] = value if param.multiple or param.nargs != 1 else _joined(value)
    return {**common, **own}


def _joined(value: Any) -> Any:
    """A list where the command line has one text with commas."""
    return ",".join(map(str, cast("list[object]", value))) if isinstance(value, list) else value
