"""What an application is configured with, and where that is read from.

A command line's option counts most, then `TASKQ_*` of the environment, then the code, then the default; a
bare `REDIS_URL` comes last, after the code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from taskq.clock import to_ms
from taskq.durability import RELAXED, Durability, check_durability
from taskq.errors import BrokerNotConfigured, ConfigurationError, SigningRequired
from taskq.names import check_name
from taskq.redaction import PATTERNS, Redaction, redaction_of
from taskq.sizes import to_bytes

if TYPE_CHECKING:
    from taskq.signing import KeyRing


@dataclass(frozen=True, slots=True)
class AppConfig:
    """What an app, its producers and its workers agree on."""

    namespace: str = "taskq"
    """What applications share: those with the same one see each other's queues and tasks."""

    redis_url: str | None = field(default=None, repr=False)
    """The server as the code names it, password and all; `server_url` says which one counts."""

    shards: int = 1
    """How many hash slots the namespace is spread over. All clients of a namespace say the same."""

    lease_ms: int = 30_000
    """How long a process may be silent before what it runs is given to another: the visibility timeout."""

    result_ttl_ms: int = 600_000
    """How long a result can be read after the end, where the task says nothing. 10 minutes."""

    dedupe_ttl_ms: int = 120_000
    """How long an ended task's id is known at least, so that a late repeat of `enqueue` is one. 2 minutes."""

    patience_ms: int = 30_000
    """How long a command is repeated while the server is away or busy, before it raises."""

    dead_ttl_ms: int = 14 * 86_400_000
    """How long a failed task is kept among the dead letters. 14 days."""

    signing_keys: KeyRing | None = None
    """What messages and outcomes are signed with, and verified."""

    accept_unsigned: bool = False
    """With signing keys: read what is not signed, too. For the time when signing is introduced."""

    max_age_ms: int | None = None
    """With signing keys: how long after it was sent, or is due, a message may start; None for ever."""

    max_payload: int = 64 << 20
    """How many bytes a message, or an outcome with its result, may take. 64 MB."""

    compress_over: int | None = None
    """Messages and outcomes above this many bytes are compressed, where the task says nothing; None for none."""

    redact: tuple[str, ...] = PATTERNS
    """Which names hide what they name, wherever arguments and results are shown; see `taskq.redaction`."""
    offload_over: int | None = None
    """Arguments and results above this many bytes go to the store, where the task says nothing; None for none."""

    offload_to: str | None = None
    """The store: `file:///var/lib/taskq/payloads`, or `s3://bucket/prefix`; the same for all of a namespace."""

    max_length: Mapping[str, int | None] | None = None
    """Queue → how many tasks may be ready in it before new ones are refused; None takes an earlier word back."""

    durability: Durability = RELAXED
    """What holds once `enqueue` returns, where neither task nor call says: `relaxed`, `fsync` or `replicated:N`."""

    block_when_full_ms: int = 0
    """How long an enqueue waits for room while its queue is full, before it raises. 0: not at all."""

    def __post_init__(self) -> None:
        check_name("the namespace", self.namespace)
        if self.lease_ms < 500:
            raise ConfigurationError(f"a lease of {self.lease_ms} ms is too short; give 500 ms or more")
        if self.dedupe_ttl_ms < 120_000:
            raise ConfigurationError("dedupe_ttl is below 2m: clients repeat an enqueue for that long")
        if self.dead_ttl_ms < self.remember_ms:
            raise ConfigurationError(
                "dead_ttl is below dedupe_ttl or max_age: a dead letter's id must be remembered too"
            )
        if not 1_024 <= self.max_payload <= 256 << 20:
            raise ConfigurationError(
                f"max_payload is {self.max_payload:,} bytes; give 1KB to 256MB, and store larger data elsewhere"
            )
        if self.offload_to is not None:
            from taskq.stores import check_store_url

            check_store_url(self.offload_to)
        for queue, most in (self.max_length or {}).items():
            check_name("the queue", queue)
            if most is not None and (type(most) is not int or not 1 <= most < 2**31):
                raise ConfigurationError(
                    f"max_length of queue {queue!r} is {most!r}; give a whole number from 1"
                )

    @property
    def redaction(self) -> Redaction:
        """What `redact` comes to."""
        return redaction_of(self.redact)

    @property
    def remember_ms(self) -> int:
        """How long an ended task's id is known at least: what is sent again meanwhile does not run."""
        return max(self.dedupe_ttl_ms, self.max_age_ms or 0)

    def record_ttl_ms(self, result_ttl_ms: int | None = None) -> int:
        """How long the record of an ended task stays, given what its task or its call says of its result."""
        return max(self.result_ttl_ms if result_ttl_ms is None else result_ttl_ms, self.remember_ms)


def check_signing(config: AppConfig, what: str) -> None:
    """Raise `SigningRequired` if there are no keys for `what`, which sends code."""
    if config.signing_keys is None:
        raise SigningRequired(
            f"{what} sends code, which workers load only if it is signed: set TASKQ_SIGNING_KEYS for programs and "
            "workers alike; `taskq keys new` makes a key"
        )


def check_max_age(config: AppConfig) -> None:
    """Raise `ConfigurationError` if there is a `max_age` and no keys: anybody could write any date."""
    if config.max_age_ms is not None and config.signing_keys is None:
        raise ConfigurationError(
            "max_age takes signing keys, for else anybody writes any date: set TASKQ_SIGNING_KEYS"
        )


VARIABLES = {
    "namespace": "TASKQ_NAMESPACE",
    "redis_url": "TASKQ_REDIS_URL",
    "lease_ms": "TASKQ_LEASE",
    "result_ttl_ms": "TASKQ_RESULT_TTL",
    "dedupe_ttl_ms": "TASKQ_DEDUPE_TTL",
    "dead_ttl_ms": "TASKQ_DEAD_TTL",
    "patience_ms": "TASKQ_PATIENCE",
    "signing_keys": "TASKQ_SIGNING_KEYS",
    "accept_unsigned": "TASKQ_ACCEPT_UNSIGNED",
    "max_age_ms": "TASKQ_MAX_AGE",
    "max_payload": "TASKQ_MAX_PAYLOAD",
    "compress_over": "TASKQ_COMPRESS_OVER",
    "redact": "TASKQ_REDACT",
    "offload_over": "TASKQ_OFFLOAD_OVER",
    "offload_to": "TASKQ_OFFLOAD_TO",
    "max_length": "TASKQ_MAX_LENGTH",
    "durability": "TASKQ_DURABILITY",
    "block_when_full_ms": "TASKQ_BLOCK_WHEN_FULL",
}
"""Which variable of the environment speaks for which field. Durations are written as `30` or `10m`, sizes as `16MB`.
Signing keys may stand in a file, which TASKQ_SIGNING_KEYS_FILE names."""

_YES_OR_NO = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def from_environment(config: AppConfig, environ: Mapping[str, str] | None = None) -> AppConfig:
    """Give `config` with what the environment says in its place; the URL is left to `server_url`.

    Raises:
        ConfigurationError: a variable's value cannot be read; the message names the variable.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Any] = {}
    for name, variable in VARIABLES.items():
        text = environ.get(variable)
        if text and name not in ("redis_url", "signing_keys"):
            found[name] = _READERS.get(name, _milliseconds if name.endswith("_ms") else _text)(variable, text)
    if environ.get("TASKQ_SIGNING_KEYS") or environ.get("TASKQ_SIGNING_KEYS_FILE"):
        from taskq.signing import keys_from

        found["signing_keys"] = keys_from(environ)
    return replace(config, **found) if found else config


def _milliseconds(variable: str, text: str) -> int:
    try:
        return to_ms(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise ConfigurationError(f"{variable}={text!r} cannot be read: {error}") from error


def _text(_variable: str, text: str) -> str:
    return text


def _yes_or_no(variable: str, text: str) -> bool:
    said = _YES_OR_NO.get(text.lower())
    if said is None:
        raise ConfigurationError(f"{variable}={text!r} cannot be read: it is 1 or 0")
    return said


def _bytes(variable: str, text: str) -> int:
    try:
        return to_bytes(text)
    except ValueError as error:
        raise ConfigurationError(f"{variable} cannot be read: {error}") from error


def _patterns(_variable: str, text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(filter(None, map(str.strip, text.split(","))))


def _bounds(variable: str, text: str) -> dict[str, int | None]:
    bounds: dict[str, int | None] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        queue, _, number = part.partition("=")
        if number != "none" and not (number.isdecimal() and len(number) < 11):
            raise ConfigurationError(
                f"{variable}={text!r} cannot be read: write it as mail=10000,default=none"
            )
        bounds[queue] = None if number == "none" else int(number)
    return bounds


def _durability(variable: str, text: str) -> Durability:
    try:
        return check_durability(text)
    except ValueError as error:
        raise ConfigurationError(f"{variable}={text!r} cannot be read: {error}") from error


_READERS: Mapping[str, Callable[[str, str], Any]] = {
    "accept_unsigned": _yes_or_no,
    "max_payload": _bytes,
    "compress_over": _bytes,
    "redact": _patterns,
    "offload_over": _bytes,
    "max_length": _bounds,
    "durability": _durability,
}


def server_url(
    code: str | None, *, option: str | None = None, environ: Mapping[str, str] | None = None
) -> str:
    """Say which server counts: a command line's `option`, TASKQ_REDIS_URL, the `code`'s redis_url, REDIS_URL.

    Raises:
        BrokerNotConfigured: none of them names one.
    """
    environ = os.environ if environ is None else environ
    url = option or environ.get("TASKQ_REDIS_URL") or code or environ.get("REDIS_URL")
    if not url:
        raise BrokerNotConfigured(
            "no server is named: set TASKQ_REDIS_URL, for example redis://localhost:6379/0, or give TaskQ a "
            "redis_url=; embedded:// starts one on this machine"
        )
    return url
