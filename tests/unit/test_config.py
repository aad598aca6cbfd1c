"""What an app is configured by: code, environment, and which of them counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskq import TaskQ
from taskq.config import AppConfig, from_environment, server_url
from taskq.errors import BrokerNotConfigured, ConfigurationError


def noop() -> None: ...


def test_the_server_is_named_by_option_environment_code_and_redis_url() -> None:
    both = {"TASKQ_REDIS_URL": "redis://environment", "REDIS_URL": "redis://bare"}
    bare = {"REDIS_URL": "redis://bare"}
    assert server_url("redis://code", option="redis://option", environ=both) == "redis://option"
    assert server_url("redis://code", environ=both) == "redis://environment"
    assert server_url("redis://code", environ=bare) == "redis://code"
    assert server_url(None, environ=bare) == "redis://bare"


def test_without_a_server_the_first_use_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TASKQ_REDIS_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    task = TaskQ("shop").task(noop)
    with pytest.raises(BrokerNotConfigured, match=r"TASKQ_REDIS_URL.*embedded://"):
        task.enqueue()


def test_the_environment_counts_more_than_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_NAMESPACE", "blue")
    monkeypatch.setenv("TASKQ_LEASE", "45")
    monkeypatch.setenv("TASKQ_RESULT_TTL", "1h")
    config = TaskQ("shop", namespace="green", lease=10, result_ttl=5, dead_ttl="1d").config
    assert (config.namespace, config.lease_ms, config.result_ttl_ms) == ("blue", 45_000, 3_600_000)
    assert config.dead_ttl_ms == 86_400_000


def test_a_variable_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ConfigurationError, match="TASKQ_LEASE='soon'"):
        from_environment(AppConfig(), {"TASKQ_LEASE": "soon"})


def test_the_environment_bounds_queues_in_place_of_the_code() -> None:
    config = AppConfig(max_length={"mail": 5})
    assert from_environment(config, {}).max_length == {"mail": 5}
    told = from_environment(config, {"TASKQ_MAX_LENGTH": "default=10000, web=none,"})
    assert told.max_length == {"default": 10_000, "web": None}


@pytest.mark.parametrize("text", ["mail", "mail=", "mail=many", "mail=-1", "mail=1.5", "mail=" + "9" * 5_000])
def test_a_bound_that_cannot_be_read_names_the_variable(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"TASKQ_MAX_LENGTH=.*mail=10000"):
        from_environment(AppConfig(), {"TASKQ_MAX_LENGTH": text})


@pytest.mark.parametrize("most", [0, -1, 2**31, True, 1.0, "5"])
def test_a_bound_that_cannot_be_is_refused(most: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_length of queue 'mail'"):
        TaskQ("shop", max_length={"mail": most})
    with pytest.raises(ConfigurationError):
        TaskQ("shop", max_length={"a b": 1})


def test_lease_has_another_name() -> None:
    assert TaskQ("shop", visibility_timeout="1m").config.lease_ms == 60_000


@pytest.mark.parametrize(
    "options", [{"lease": 0.4}, {"dedupe_ttl": 60}, {"namespace": "a b"}, {"lease": "x"}]
)
def test_what_cannot_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError if options == {"lease": "x"} else ConfigurationError):
        TaskQ("shop", **options)


def test_a_record_outlives_the_repeats_of_its_enqueue() -> None:
    config = AppConfig()
    assert config.record_ttl_ms() == 600_000
    assert config.record_ttl_ms(0) == config.dedupe_ttl_ms
    assert config.record_ttl_ms(3_600_000) == 3_600_000


def test_a_password_stays_out_of_what_is_shown() -> None:
    app = TaskQ("shop", redis_url="redis://:hunter2@host")
    assert "hunter2" not in repr(app) + repr(app.config) + repr(app.broker)


def test_a_variable_that_overrules_the_code_is_told_once_and_masked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "taskq.broker")
    monkeypatch.setenv("TASKQ_REDIS_URL", "redis://:hunter2@environment.invalid")
    for code in (None, "redis://:hunter2@environment.invalid", "redis://code.invalid"):
        app = TaskQ("shop", redis_url=code)
        assert app.broker is app.broker

    [told] = caplog.messages
    assert "TASKQ_REDIS_URL counts, not redis_url=" in told
    assert "environment.invalid" in told
    assert "hunter2" not in told


def test_nothing_connects_before_it_is_needed() -> None:
    app = TaskQ("shop", redis_url="redis://nowhere.invalid")
    app.task(noop)
    app.handle("0-1")
    app.close()
    asyncio.run(app.aclose())
