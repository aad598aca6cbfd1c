"""From MODULE:APP to the app: which one is meant, and one clear line when it cannot be had."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from taskq.errors import ConfigurationError

if TYPE_CHECKING:
    from taskq.app import TaskQ

P = ParamSpec("P")
T = TypeVar("T")

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOTTED = rf"{_NAME}(?:\.{_NAME})*"
_SPEC = re.compile(rf"{_DOTTED}:{_DOTTED}")


def app_options(function: Callable[P, T]) -> Callable[P, T]:
    """Add -A/--app and --app-dir, as `app` and `app_dir`."""
    app = click.option(
        "-A",
        "--app",
        envvar="TASKQ_APP",
        metavar="MODULE:APP",
        help="The app, for example shop.tasks:app. Or TASKQ_APP, or pyproject.toml.",
    )
    app_dir = click.option(
        "--app-dir",
        envvar="TASKQ_APP_DIR",
        metavar="DIR",
        default=".",
        help="Where the app's module is: put first on sys.path. The current directory by default.",
    )
    return app(app_dir(function))


def resolve_app_spec(argument: str | None, option: str | None) -> str:
    """Give the app that is meant: a command's argument, else -A with what speaks for it.

    Raises:
        ConfigurationError: neither names one, or it is not MODULE:APP.
    """
    spec = argument or option
    if not spec:
        raise ConfigurationError(
            "no app is named: give MODULE:APP, for example shop.tasks:app, or set TASKQ_APP"
        )
    return check_app_spec(spec)


def check_app_spec(spec: str) -> str:
    """Return `spec` if it has the form MODULE:APP.

    Raises:
        ConfigurationError: it has not.
    """
    if not _SPEC.fullmatch(spec):
        raise ConfigurationError(
            f"{spec!r} is refused: an app is named MODULE:APP, for example shop.tasks:app"
        )
    return spec


def load_app(spec: str, app_dir: str = ".") -> TaskQ:
    """Import the module of `spec` with `app_dir` first on `sys.path`, and give its app.

    Raises:
        ConfigurationError: the form is wrong, there is no such module or attribute, its import failed, or it
            names no TaskQ.
    """
    module_name, _, attribute = check_app_spec(spec).partition(":")
    folder = Path(app_dir).resolve()
    if not folder.is_dir():
        raise ConfigurationError(f"--app-dir {app_dir} is no directory")
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))
    from taskq.app import TaskQ

    module = _import(module_name, folder)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, _ABSENT)
        if found is _ABSENT:
            apps = [name for name, value in vars(module).items() if isinstance(value, TaskQ)]
            hint = "".join(f"; do you mean {module_name}:{name}?" for name in apps[:1])
            raise ConfigurationError(f"module {module_name} has no {attribute!r}{hint}")
    if not isinstance(found, TaskQ):
        raise ConfigurationError(f"{spec} is of type {type(found).__name__}, not a TaskQ")
    return found


_ABSENT: Any = object()


def _import(module_name: str, folder: Path) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise ConfigurationError(
                f"there is no module {error.name!r} in {folder} or on sys.path: start where it is, or name "
                "that directory with --app-dir"
            ) from error
        raise ConfigurationError(_failed(module_name, error)) from error
    except (Exception, SystemExit) as error:  # the app's own code runs here, and may raise anything
        raise ConfigurationError(_failed(module_name, error)) from error


def _failed(module_name: str, error: BaseException) -> str:
    last = traceback.format_exception_only(error)[-1].strip()
    return f"importing {module_name} failed: {last} ({_place(error)})"


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    last = [frame for frame in frames if "importlib" not in frame.filename][-1]
    return f"{last.filename}, line {last.lineno}"
