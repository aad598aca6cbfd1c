"""Words of people and machines: URLs, keys, names, durations, variables, `[tool.taskq]`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

from taskq.broker.connect import parse_url
from taskq.cli.output import printable
from taskq.cli.project import check_commands, check_table, defaults, table_of
from taskq.cli.values import duration_ms, json_of
from taskq.cli.worker import worker
from taskq.clock import to_ms
from taskq.config import VARIABLES, AppConfig, from_environment
from taskq.errors import BadName, ConfigurationError
from taskq.loading import check_app_spec
from taskq.names import check_id, check_name, check_task_name, shard_of, unique_key
from taskq.signing import KeyRing, check_key_id
from taskq.sizes import to_bytes
from taskq.stores import check_store_url

SECRET = "hunter2hunter2hunter2hunter2hunter2"
"""Stands in the inputs where a secret stands; no error may have it, nor what is printed of a URL."""

_HELD = re.compile(rf":{SECRET}@|[?&](\w+_)?password={SECRET}|k1:{SECRET}(,|$)")
"""How it stands where it is one: in a path, say, nobody hides it."""

_JSON = json_of(list, "[1]")
_NO_CONTEXT: Any = None


def words(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for read in (
        _url, check_store_url, check_app_spec, check_name_of_queue, check_task_name, check_id, check_key_id,
        lambda given: KeyRing.parse(given, "keys"), _key, _of_environment,
    ):  # fmt: skip
        _refuses(read, text, ConfigurationError)
    for other in (to_ms, to_bytes):
        _refuses(other, text, ValueError)
    with suppress(click.BadParameter):
        duration_ms(_NO_CONTEXT, _NO_CONTEXT, text)
    with suppress(click.BadParameter):
        _JSON(_NO_CONTEXT, _NO_CONTEXT, text)
    _table(text)
    shown = printable(text)
    assert shown.isprintable()
    with suppress(BadName):
        assert 0 <= shard_of(check_id(text), 7) < 7


def _refuses(read: Callable[[str], object], text: str, kind: type[Exception]) -> None:
    try:
        read(text)
    except kind as error:
        secret = text.count(SECRET) == 1 and _HELD.search(text) and kind is ConfigurationError
        if secret and SECRET in str(error) and read not in _SHOWN:
            raise AssertionError(f"{read} shows a secret") from error


def check_name_of_queue(text: str) -> object:
    return check_name("the queue", text)


def _key(text: str) -> object:
    return unique_key("task", text)


_SHOWN: tuple[Callable[..., object], ...] = (
    check_name_of_queue, check_task_name, check_id, check_app_spec, check_store_url, _key,
)  # fmt: skip
"""What is refused here is shown: nobody puts a secret there."""


def _url(text: str) -> object:
    url = parse_url(text)
    if url.password is not None and len(url.password) >= len(SECRET) and text.count(url.password) == 1:
        assert url.password not in f"{url} {url!r}"
    return url


def _of_environment(text: str) -> None:
    for variable in VARIABLES.values():
        if variable not in ("TASKQ_REDIS_URL", "TASKQ_NAMESPACE", "TASKQ_OFFLOAD_TO"):
            with suppress(ConfigurationError):
                from_environment(AppConfig(), {variable: text})


def _table(text: str) -> None:
    with suppress(ConfigurationError):
        table = table_of(text)
        check_commands(table, ("worker",))
        check_table(table, "worker", worker)
        json.dumps(defaults(table, "worker", worker), default=str)


def seeds() -> dict[str, dict[str, bytes]]:
    """Words as people write them, for the target of this file."""
    lines = {
        "url": f"rediss://ann:{SECRET}@[::1]:6379/3?ssl_cert_reqs=none&ssl_password={SECRET}",
        "sentinel": f"redis+sentinel://:{SECRET}@a:1,b:2/main/0?sentinel_password={SECRET}",
        "unix": "unix:///run/redis.sock?db=2",
        "keys": f"# ring\nk1:{SECRET},k2:{SECRET}x",
        "store": "s3://bucket/prefix",
        "duration": "1h30m",
        "size": "4.5MB",
        "app": "shop.tasks:app",
        "id": ID_OF_A_TASK,
        "patterns": "*iban*,none",
        "json": '[1, {"a": null}]',
        "toml": '[tool.taskq]\napp = "shop:app"\n[tool.taskq.worker]\nprocesses = 4\nqueues = ["a", "b"]\n',
    }
    return {"words": {name: line.encode() for name, line in lines.items()}}


ID_OF_A_TASK = "0-01h2xcejqtf2nbrexx3vqjhp41"
