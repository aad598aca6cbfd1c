"""Which server a command talks to: --url, TASKQ_REDIS_URL, REDIS_URL, else a running embedded server."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

from taskq.broker.client import Broker
from taskq.broker.command import Steps
from taskq.broker.commands.reading import read
from taskq.broker.keys import Keys
from taskq.cli.output import line
from taskq.config import AppConfig, from_environment
from taskq.durability import needs_of
from taskq.errors import BrokerError, BrokerNotConfigured, FormatMismatch
from taskq.frame import FrameCodec
from taskq.payloads import Payloads, store_of
from taskq.redaction import Redaction

if TYPE_CHECKING:
    from taskq.app import TaskQ
    from taskq.broker.durable import Safely

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE_S = 3.0  # a person waits for the answer


class Server:
    """A namespace on a server, as a command sees it."""

    def __init__(self, url: str, namespace: str) -> None:
        self.given_url = url
        self.namespace = namespace
        self.broker = Broker(url, namespace, patience=_PATIENCE_S)
        self._shards: tuple[Keys, ...] | None = None

    @property
    def shards(self) -> tuple[Keys, ...]:
        """The keys of all shards; how many there are is read from the namespace.

        Raises:
            FormatMismatch: another release wrote the namespace.
            BrokerError: the server failed.
        """
        if self._shards is None:
            number = self.run(_shards_of(self.broker.keys[0]))
            if number != 1:
                self.broker.close()
                self.broker = Broker(self.given_url, self.namespace, shards=number, patience=_PATIENCE_S)
            self._shards = self.broker.keys
        return self._shards

    @property
    def keep_ms(self) -> int:
        """How long what is known of a task that is ended by hand stays known."""
        return self.config.record_ttl_ms()

    @property
    def config(self) -> AppConfig:
        """What the environment says."""
        return from_environment(AppConfig(namespace=self.namespace))

    @property
    def frames(self) -> FrameCodec:
        """What signs and verifies, with the keys that the environment names."""
        return FrameCodec.of(self.config, self.namespace, len(self.shards), self.broker.now_ms)

    @property
    def redaction(self) -> Redaction:
        """What is not shown, as the environment says."""
        return self.config.redaction

    @property
    def payloads(self) -> Payloads:
        """What reaches the store of payloads that the environment names."""
        return Payloads.of(self.config, store_of(self.config, self.namespace))

    @property
    def safely(self) -> Safely | None:
        """What makes that which stores tasks wait, as the environment's durability says."""
        return self.broker.safely(needs_of(self.config.durability))

    def keys_of(self, id: str) -> Keys:
        """The keys of the shard that `id` lives on."""
        return self.shards[0] if len(self.shards) == 1 else self.broker.keys_of(id)

    def run(self, steps: Steps[T]) -> T:
        """Send what `steps` yields; give what it returns."""
        return self.broker.run(steps)


def _shards_of(keys: Keys) -> Steps[int]:
    try:
        version, shards = yield read(keys, "HMGET", keys.meta, "v", "n")
    except BrokerError as error:
        if "WRONGTYPE" not in str(error):
            raise
        raise FormatMismatch(f"{keys.meta} is no hash: this namespace is not taskq's") from error
    if version is None:
        return 1  # never used
    if version != b"1" or not str(shards, "ascii", "replace").isdecimal():
        raise FormatMismatch(
            f"namespace {keys.namespace!r} is of format {version!r}; this release reads format 1"
        )
    return max(1, int(shards))


def find_url(url: str | None, namespace: str) -> str:
    """Say which server counts; an embedded one is named on standard error.

    Raises:
        BrokerNotConfigured: none is named, and no embedded one runs.
    """
    if named := url or os.environ.get("REDIS_URL"):
        return named
    from taskq.broker.embedded import running

    embedded = running(namespace)
    if embedded is None:
        raise BrokerNotConfigured(
            f"no server is named, and no embedded one runs for namespace {namespace!r}: give --url, set "
            "TASKQ_REDIS_URL, or start one with `taskq server start`"
        )
    line(
        f"taskq: using the embedded server of namespace {namespace!r} ({embedded.kind} {embedded.version})",
        error=True,
    )
    return embedded.url


def app_and_server(app: str | None, app_dir: str, url: str | None, namespace: str) -> tuple[TaskQ, Server]:
    """Load the app that is named, or make one without tasks, and find the server that both talk to.

    Raises:
        ConfigurationError: the app cannot be had.
        BrokerNotConfigured: no server is named, and no embedded one runs.
    """
    from taskq.app import TaskQ
    from taskq.loading import load_app

    # An app reads the environment when it is made, and it counts more than code: as the command line does.
    if url:
        os.environ["TASKQ_REDIS_URL"] = url
    chosen = click.get_current_context().get_parameter_source("namespace")
    if chosen is not click.core.ParameterSource.DEFAULT:
        os.environ["TASKQ_NAMESPACE"] = namespace
    application = load_app(app, app_dir) if app else TaskQ("taskq", namespace=namespace)
    namespace = application.config.namespace
    os.environ["TASKQ_REDIS_URL"] = found = find_url(url or application.config.redis_url, namespace)
    return application, Server(found, namespace)


def url_options(function: Callable[P, T]) -> Callable[P, T]:
    """Add --url and --namespace."""
    url = click.option(
        "--url",
        envvar="TASKQ_REDIS_URL",
        metavar="URL",
        help="The server, for example redis://localhost:6379/0. Or TASKQ_REDIS_URL.",
    )
    namespace = click.option(
        "--namespace",
        envvar="TASKQ_NAMESPACE",
        metavar="NAME",
        default="taskq",
        show_default=True,
        help="What is looked at on that server. Or TASKQ_NAMESPACE.",
    )
    return url(namespace(function))


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def with_server(function: Callable[Concatenate[Server, P], T]) -> Callable[..., T]:
    """Add --url, --namespace and --json to a command, and hand it the server that they name."""

    @json_option
    @url_options
    @functools.wraps(function)
    def command(url: str | None, namespace: str, **options: Any) -> T:
        server = Server(find_url(url, namespace), namespace)
        try:
            return function(server, **options)  # type: ignore[call-arg]
        finally:
            server.broker.close()

    return command
