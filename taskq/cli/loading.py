"""Which app a command means. `taskq.loading` imports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from taskq.errors import ConfigurationError

P = ParamSpec("P")
T = TypeVar("T")


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
    from taskq.loading import check_app_spec

    spec = argument or option
    if not spec:
        raise ConfigurationError(
            "no app is named: give MODULE:APP, for example shop.tasks:app, or set TASKQ_APP"
        )
    return check_app_spec(spec)
