"""How options are read that are more than a word or a number."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from taskq.clock import to_ms

Callback = Callable[[click.Context, click.Parameter, Any], Any]


def duration_ms(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read `30` (seconds), `500ms` or `10m` as milliseconds: a click callback."""
    if value is None:
        return None
    try:
        return to_ms(float(value) if value.replace(".", "", 1).isdecimal() else value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def json_of(kind: type, example: str) -> Callback:
    """Make a click callback that reads JSON whose value is of one Python type."""

    def convert(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return None
        try:
            decoded = json.loads(value, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise click.BadParameter(f"no JSON ({error}); write it as {example}", ctx, param) from error
        if not isinstance(decoded, kind):
            raise click.BadParameter(f"the wrong kind of JSON; write it as {example}", ctx, param)
        return decoded

    return convert


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
