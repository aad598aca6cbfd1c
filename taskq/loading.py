"""From MODULE:APP to the app, and one clear line when it cannot be had."""

from __future__ import annotations

import importlib
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

from taskq.app import TaskQ
from taskq.errors import ConfigurationError

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOTTED = rf"{_NAME}(?:\.{_NAME})*"
_SPEC = re.compile(rf"({_DOTTED}):({_DOTTED})")


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
    """Import the module of `spec` with `app_dir` first on `sys.path`, and what its app includes; give the app.

    Raises:
        ConfigurationError: the form is wrong, there is no such module or attribute, the import failed, or
            what is there is no TaskQ.
    """
    module_name, _, attribute = check_app_spec(spec).partition(":")
    folder = Path(app_dir).resolve()
    if not folder.is_dir():
        raise ConfigurationError(f"--app-dir {app_dir} is no directory")
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))
    found = _import(module_name, folder)
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise ConfigurationError(_no_attribute(module_name, attribute, found)) from None
    if not isinstance(found, TaskQ):
        raise ConfigurationError(f"{spec} is of type {type(found).__name__}, not a TaskQ")
    try:
        found.freeze()
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigurationError(_failed(f"what {spec} includes", error)) from error
    return found


def _import(module_name: str, folder: Path) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(missing + "."):
            raise ConfigurationError(
                f"there is no module {missing!r} in {folder} or on sys.path: start in the directory that has "
                "it, or name that with --app-dir"
            ) from error
        raise ConfigurationError(_failed(module_name, error)) from error
    except (Exception, SystemExit) as error:  # the app's own code runs here, and may raise anything
        raise ConfigurationError(_failed(module_name, error)) from error


def _failed(module_name: str, error: BaseException) -> str:
    last = traceback.format_exception_only(error)[-1].strip()
    return f"importing {module_name} failed: {last} ({_place(error)})"


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{_near(error.filename or '?')}, line {error.lineno}"
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename
    ]
    return f"{_near(frames[-1].filename)}, line {frames[-1].lineno}"


def _near(filename: str) -> str:
    path = Path(filename)
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else filename


def _no_attribute(module_name: str, attribute: str, found: Any) -> str:
    apps = [
        f"{module_name}:{name}"
        for name, value in getattr(found, "__dict__", {}).items()
        if isinstance(value, TaskQ)
    ]
    hint = f"; it has {', '.join(apps)}" if apps else ""
    return f"{module_name} has no {attribute!r}{hint}"
