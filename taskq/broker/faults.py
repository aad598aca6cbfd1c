"""The error table: what each failure of the driver or the server means, and what is done about it.

redis-py's own retry is off (it turned one enqueue into three); what is repeated here is a script that is
idempotent, or a read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from redis import exceptions as redis

from taskq.errors import (
    BackpressureError,
    BrokerDataLost,
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    ConfigurationError,
    FormatMismatch,
    TaskqError,
)

Refusal = redis.ResponseError
"""What the server itself answered with an error; the connection stays good."""


class Unconfirmed(Refusal):
    """What was written is stored, and not known to be as safe as was asked; a repeat may find it so."""


class Unconfirmable(Unconfirmed):
    """The same, and a repeat would be told the same."""


class Action(Enum):
    """What the sender of a command does about a fault."""

    LOAD = auto()  # the script cache is volatile: load, send again
    INIT = auto()  # no meta: the first contact, or data loss
    REPEAT = auto()  # the way is broken or the server is busy: back off, send again
    RAISE = auto()


@dataclass(frozen=True, slots=True)
class Fault:
    """A translated failure. `broken`: the connection must not be used again."""

    action: Action
    error: TaskqError
    broken: bool = False


@dataclass(frozen=True, slots=True)
class _Row:
    prefix: str
    action: Action
    error: type[TaskqError]
    text: str
    broken: bool = False


_TABLE = (
    _Row("NOSCRIPT", Action.LOAD, BrokerError, "the server does not keep the script it was just given"),
    _Row(
        "TQNOMETA",
        Action.INIT,
        BrokerDataLost,
        "the namespace has no meta: the server lost its data or was flushed",
    ),
    _Row("TQFORMAT", Action.RAISE, FormatMismatch, "another format version wrote this namespace"),
    _Row("TQFROZEN", Action.REPEAT, BrokerUnavailable, "the namespace is frozen: someone moves its shards"),
    _Row("LOADING", Action.REPEAT, BrokerUnavailable, "the server still loads its data", broken=True),
    _Row("BUSY", Action.REPEAT, BrokerUnavailable, "the server runs a script that does not end"),
    _Row("READONLY", Action.REPEAT, BrokerUnavailable, "the server is a replica now", broken=True),
    _Row("UNBLOCKED", Action.REPEAT, BrokerUnavailable, "the server is a replica now", broken=True),
    _Row("MASTERDOWN", Action.REPEAT, BrokerUnavailable, "the replica has lost its master", broken=True),
    _Row("CLUSTERDOWN", Action.REPEAT, BrokerUnavailable, "the cluster is down"),
    _Row("TRYAGAIN", Action.REPEAT, BrokerUnavailable, "a slot is on the move"),
    _Row("MOVED", Action.RAISE, ConfigurationError, "this is Redis Cluster, which taskq cannot use yet"),
    _Row("CROSSSLOT", Action.RAISE, ConfigurationError, "this is Redis Cluster, which taskq cannot use yet"),
    _Row("OOM", Action.RAISE, BackpressureError, "the server's memory is full; nothing was stored"),
    _Row(
        "MISCONF", Action.RAISE, BackpressureError, "the server cannot write to its disk; nothing was stored"
    ),
    _Row(
        "NOREPLICAS", Action.RAISE, BackpressureError, "the server has too few replicas; nothing was stored"
    ),
    _Row("NOPERM", Action.RAISE, BrokerRefused, "this user lacks a right"),
    _Row("ACL FAILURE", Action.RAISE, BrokerRefused, "this user lacks a right"),  # Valkey's, within a script
    _Row("THE USER EXECUTING", Action.RAISE, BrokerRefused, "this user lacks a right"),  # Redis 7.0's
    _Row("NOAUTH", Action.RAISE, BrokerRefused, "the server wants a password"),
    _Row("WRONGPASS", Action.RAISE, BrokerRefused, "the server refuses this user or password"),
    _Row(
        "UNKNOWN COMMAND",
        Action.RAISE,
        ConfigurationError,
        "the server is too old: Redis 7.0 or Valkey 7.2 is needed",
    ),
)

# redis-py takes the prefix off the messages of the errors it has a class for.
_CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (redis.NoScriptError, "NOSCRIPT"),
    (redis.BusyLoadingError, "LOADING"),
    (redis.ReadOnlyError, "READONLY"),
    (redis.MasterDownError, "MASTERDOWN"),
    (redis.ClusterDownError, "CLUSTERDOWN"),
    (redis.TryAgainError, "TRYAGAIN"),
    (redis.MovedError, "MOVED"),
    (redis.OutOfMemoryError, "OOM"),
    (redis.NoPermissionError, "NOPERM"),
    (redis.AuthenticationWrongNumberOfArgsError, "NOAUTH"),
    (redis.AuthenticationError, "NOAUTH"),
)


def _text(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def classify(error: Exception, where: str) -> Fault:
    """Translate what the driver raised; `where` is the masked URL, for the message."""
    if isinstance(error, Unconfirmed):
        action = Action.RAISE if isinstance(error, Unconfirmable) else Action.REPEAT
        return Fault(action, BrokerUnavailable(f"it is stored, but {error} ({where})"))
    prefix = next((prefix for kind, prefix in _CLASSES if isinstance(error, kind)), str(error))
    if prefix == "NOAUTH" and str(error).startswith("invalid"):
        prefix = "WRONGPASS"  # one class stands for both
    for row in _TABLE:
        if prefix.upper().startswith(row.prefix):
            return Fault(row.action, row.error(f"{row.text} ({where}: {error})"), row.broken)
    if isinstance(error, (redis.ConnectionError, redis.TimeoutError, OSError)):
        return Fault(
            Action.REPEAT,
            BrokerUnavailable(f"no answer from {where}: {_text(error)}"),
            True,
        )
    return Fault(
        Action.RAISE,
        BrokerError(f"{where} answered: {error}"),
        broken=not isinstance(error, redis.ResponseError),
    )


DRIVER_ERRORS: tuple[type[Exception], ...] = (redis.RedisError, OSError)
"""What to catch around any use of the driver."""


def breaks_connection(error: BaseException) -> bool:
    """True if a connection that raised `error` must not be used again: also when its user was cancelled."""
    return not isinstance(error, DRIVER_ERRORS) or classify(error, "").broken
