"""The error table, row by row, in the shapes that the driver gives them."""

from __future__ import annotations

import pytest
from redis import exceptions as redis

from taskq.broker.faults import Action, breaks_connection, classify
from taskq.errors import (
    BackpressureError,
    BrokerDataLost,
    BrokerError,
    BrokerRefused,
    BrokerUnavailable,
    ConfigurationError,
    FormatMismatch,
)

ROWS = [
    (redis.NoScriptError("No matching script. Please use EVAL."), Action.LOAD, BrokerError, False),
    (redis.ResponseError("TQNOMETA the namespace has no meta"), Action.INIT, BrokerDataLost, False),
    (redis.ResponseError("TQFORMAT 2"), Action.RAISE, FormatMismatch, False),
    (redis.ResponseError("TQFROZEN the namespace is frozen"), Action.REPEAT, BrokerUnavailable, False),
    (redis.ResponseError("TQHELD tq:{ns:0}:held:p has a wrong type"), Action.RAISE, BrokerError, False),
    (redis.BusyLoadingError("Redis is loading the dataset in memory"), Action.REPEAT, BrokerUnavailable, True),
    (redis.ResponseError("BUSY Redis is busy running a script."), Action.REPEAT, BrokerUnavailable, False),
    (redis.ReadOnlyError("You can't write against a read only replica."), Action.REPEAT, BrokerUnavailable, True),
    (redis.MasterDownError("Link with MASTER is down"), Action.REPEAT, BrokerUnavailable, True),
    (redis.ClusterDownError("The cluster is down"), Action.REPEAT, BrokerUnavailable, False),
    (redis.TryAgainError("Multiple keys request during rehashing"), Action.REPEAT, BrokerUnavailable, False),
    (redis.MovedError("1 127.0.0.1:7000"), Action.RAISE, ConfigurationError, False),
    (redis.ResponseError("CROSSSLOT Keys in request"), Action.RAISE, ConfigurationError, False),
    (redis.OutOfMemoryError("command not allowed when used memory"), Action.RAISE, BackpressureError, False),
    (redis.ResponseError("MISCONF Redis is configured to save"), Action.RAISE, BackpressureError, False),
    (redis.ResponseError("NOREPLICAS Not enough good replicas"), Action.RAISE, BackpressureError, False),
    (redis.NoPermissionError("User x has no permissions"), Action.RAISE, BrokerRefused, False),
    (redis.ResponseError("ACL failure in script: User x has"), Action.RAISE, BrokerRefused, False),
    (redis.ResponseError("The user executing the script can't run"), Action.RAISE, BrokerRefused, False),
    (redis.AuthenticationError("Authentication required."), Action.RAISE, BrokerRefused, False),
    (redis.AuthenticationError("invalid username-password pair"), Action.RAISE, BrokerRefused, False),
    (redis.AuthenticationWrongNumberOfArgsError("wrong number"), Action.RAISE, BrokerRefused, False),
    (redis.ResponseError("unknown command 'LMPOP', with args"), Action.RAISE, ConfigurationError, False),
    (redis.ResponseError("WRONGTYPE Operation against a key"), Action.RAISE, BrokerError, False),
    (redis.ConnectionError("Connection closed by server."), Action.REPEAT, BrokerUnavailable, True),
    (redis.ConnectionError(), Action.REPEAT, BrokerUnavailable, True),
    (redis.TimeoutError("Timeout reading from socket"), Action.REPEAT, BrokerUnavailable, True),
    (ConnectionRefusedError(111, "Connection refused"), Action.REPEAT, BrokerUnavailable, True),
    (TimeoutError(), Action.REPEAT, BrokerUnavailable, True),
    (redis.InvalidResponse("Protocol Error: b'?'"), Action.RAISE, BrokerError, True),
]  # fmt: skip


@pytest.mark.parametrize(("error", "action", "kind", "broken"), ROWS, ids=[repr(row[0])[:60] for row in ROWS])
def test_every_failure_has_its_meaning(
    error: Exception, action: Action, kind: type[Exception], broken: bool
) -> None:
    fault = classify(error, "redis://host:6379/0")

    assert (fault.action, type(fault.error), fault.broken) == (action, kind, broken)
    assert "redis://host:6379/0" in str(fault.error)
    assert str(error).rstrip(".") in str(fault.error)
    assert breaks_connection(error) is broken


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit(), ValueError("a bug of ours")])
def test_a_connection_whose_user_was_interrupted_is_not_used_again(error: BaseException) -> None:
    assert breaks_connection(error)
