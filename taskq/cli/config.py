"""`taskq config show`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from taskq.broker.connect import parse_url
from taskq.cli.loading import app_options
from taskq.cli.output import compact, show, table
from taskq.cli.project import FILE, check_table, defaults, project_table
from taskq.cli.server_options import json_option, url_options
from taskq.config import VARIABLES, AppConfig, from_environment
from taskq.signing import FILE_VARIABLE, KeyRing

_CONFIGURABLE = ("worker", "dev")
_SHOWN_ONCE = ("url", "namespace", "app", "app_dir")


class Setting(msgspec.Struct, frozen=True):
    """One setting: its value, and what said so."""

    name: str
    value: Any
    source: str


@click.group
def config() -> None:
    """Show what taskq is configured with here."""


@config.command("show")
@app_options
@url_options
@json_option
@click.pass_context
def show_config(
    ctx: click.Context, app: str | None, app_dir: str, url: str | None, namespace: str, as_json: bool
) -> None:
    """Show every setting, its value, and where the value comes from.

    The command line counts more than TASKQ_… of the environment, that more than the app's code, that more
    than pyproject.toml. With -A the app is loaded, and its code is shown too. Passwords are masked.
    """
    settings = [
        Setting("app", app, _source(ctx, "app")),
        Setting("app_dir", app_dir, _source(ctx, "app_dir")),
        *_of_app(ctx, app, app_dir, url, namespace),
        *_of_commands(ctx.find_root()),
    ]
    show(as_json, {"settings": settings}, lambda _: _show(settings))


def _show(settings: list[Setting]) -> None:
    rows = [
        (one.name, one.value if isinstance(one.value, str) else compact(one.value, 80), one.source)
        for one in settings
        if one.value is not None or one.source != "default"
    ]
    table(("SETTING", "VALUE", "SOURCE"), rows)


def _of_app(
    ctx: click.Context, app: str | None, app_dir: str, url: str | None, namespace: str
) -> Iterator[Setting]:
    told = from_environment(AppConfig(namespace=namespace))
    plain = AppConfig()
    code = None
    if app:
        from taskq.loading import load_app

        code = told = load_app(app, app_dir).config
    yield _namespace(ctx, namespace, code, app)
    yield _url(ctx, url, told, app)
    for name, variable in VARIABLES.items():
        if name not in ("namespace", "redis_url"):
            value = getattr(told, name)
            by_code = code is not None and value != getattr(plain, name)
            source = f"app {app}" if by_code else "default"
            if name == "signing_keys" and os.environ.get(FILE_VARIABLE):
                variable = FILE_VARIABLE
            value = list(value.ids) if isinstance(value, KeyRing) else value  # their ids, never the secrets
            yield Setting(name, value, f"environment {variable}" if os.environ.get(variable) else source)


def _namespace(ctx: click.Context, given: str, code: AppConfig | None, app: str | None) -> Setting:
    source = _source(ctx, "namespace")
    if source == "default" and code is not None and code.namespace != given:
        return Setting("namespace", code.namespace, f"app {app}")
    return Setting("namespace", given, source)


def _url(ctx: click.Context, url: str | None, told: AppConfig, app: str | None) -> Setting:
    if url:
        return Setting("url", parse_url(url).masked, _source(ctx, "url"))
    if told.redis_url:
        return Setting("url", parse_url(told.redis_url).masked, f"app {app}")
    if url := os.environ.get("REDIS_URL"):
        return Setting("url", parse_url(url).masked, "environment REDIS_URL")
    from taskq.broker.embedded import running

    embedded = running(told.namespace)
    if embedded is None:
        return Setting("url", None, "nothing names a server, and no embedded one runs")
    return Setting("url", parse_url(embedded.url).masked, "the embedded server, which runs")


def _of_commands(root: click.Context) -> Iterator[Setting]:
    group = root.command
    content = project_table()
    for command in _CONFIGURABLE:
        found = group.get_command(root, command) if isinstance(group, click.Group) else None
        if found is None:
            continue
        check_table(content, command, found)
        map_ = defaults(content, command, found)
        ctx = click.Context(found, parent=root, info_name=command, default_map=map_)
        for param in found.params:
            if isinstance(param, click.Option) and param.name and param.name not in _SHOWN_ONCE:
                value, source = param.consume_value(ctx, {})
                if source is not ParameterSource.DEFAULT or command == "worker":
                    yield Setting(f"{command}.{param.name}", _plain(value), _named(param, source))


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else None


def _source(ctx: click.Context, name: str) -> str:
    param = next(param for param in ctx.command.params if param.name == name)
    return _named(param, ctx.get_parameter_source(name))


def _named(param: click.Parameter, source: ParameterSource | None) -> str:
    if source is ParameterSource.COMMANDLINE:
        return "command line"
    if source is ParameterSource.DEFAULT_MAP:
        return FILE
    if source is ParameterSource.ENVIRONMENT:
        return f"environment {param.envvar}"
    return "default"
