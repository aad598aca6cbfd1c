from __future__ import annotations

import asyncio
import functools
import inspect
from datetime import timedelta
from typing import Any

import pytest

from taskq import RetryPolicy, TaskQ
from taskq.errors import ConfigurationError
from taskq.options import TaskOptions
from taskq.task import is_async
from tests.unit.wire import WiredApp


def add(a: int, b: int = 0) -> int:
    """Add."""
    return a + b


async def fetch(url: str) -> str:
    return url


def declared(**options: Any) -> TaskOptions:
    return TaskQ("shop").task(add, **options).options


class TestOptions:
    def test_defaults_are_those_of_the_manual(self) -> None:
        assert declared() == TaskOptions(
            queue="default",
            priority=5,
            retry=RetryPolicy(max_retries=5, delay=1, factor=2, cap="10m"),
            timeout_ms=3_600_000,
            soft_timeout_ms=None,
            result_ttl_ms=None,
            max_crashes=3,
            ack="late",
            keep_message=False,
        )

    def test_durations_are_seconds_text_or_timedelta(self) -> None:
        assert declared(timeout=30).timeout_ms == 30_000
        assert declared(timeout="1m", soft_timeout="50s").soft_timeout_ms == 50_000
        assert declared(result_ttl=timedelta(hours=1)).result_ttl_ms == 3_600_000
        assert declared(timeout=None).timeout_ms is None
        assert declared(result_ttl=0).result_ttl_ms == 0

    def test_short_forms_change_fields_of_the_policy(self) -> None:
        policy = RetryPolicy(max_retries=9, delay="5s")
        assert declared(retry=policy).retry is not None
        assert declared(retry=policy, max_retries=0).retry == RetryPolicy(max_retries=0, delay="5s")
        assert declared(retry_for=OSError, no_retry_for=(KeyError,)).retry == RetryPolicy(
            retry_for=OSError, no_retry_for=(KeyError,)
        )

    @pytest.mark.parametrize(
        "options",
        [
            {"queue": "a b"},
            {"priority": 10},
            {"priority": -1},
            {"priority": True},
            {"timeout": 0},
            {"timeout": "soon"},
            {"timeout": -1},
            {"timeout": "1m", "soft_timeout": "1m"},
            {"soft_timeout": 0},
            {"result_ttl": "x"},
            {"max_crashes": 0},
            {"isolate": "thread"},
            {"max_memory": "100MB"},
            {"isolate": "process", "max_memory": 0},
            {"isolate": "process", "max_memory": "much"},
            {"max_crashes": 1.5},
            {"max_retries": -1},
            {"retry": RetryPolicy(), "max_retries": 0.5},
            {"ack": "never"},
            {"keep_message": "yes"},
            {"unheard_of": 1},
            {"name": "a|b"},
            {"name": ""},
        ],
    )
    def test_what_cannot_be_meant_is_refused_where_it_is_declared(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=f"test_task.py.*{list(options)[-1]}"):
            declared(**options)

    def test_an_option_that_is_none_is_named_with_the_one_that_may_be_meant(self) -> None:
        meant = r": task\(\) has no option 'max_retrys'; did you mean 'max_retries'\?$"
        with pytest.raises(ConfigurationError, match=meant):
            declared(max_retrys=3)
        with pytest.raises(ConfigurationError, match=r": task\(\) has no option 'unheard_of'$"):
            declared(unheard_of=3)


class TestCalling:
    def test_a_call_runs_the_function_here_and_now(self) -> None:
        app = WiredApp()
        assert app.task(add)(1, b=2) == 3
        assert asyncio.run(app.task(fetch)("u")) == "u"
        assert app.wire.commands == []

    def test_it_looks_like_the_function(self) -> None:
        task = TaskQ("shop").task(add)
        assert (task.__module__, task.__doc__) == (__name__, add.__doc__)
        assert inspect.signature(task) == inspect.signature(add)

    def test_async_functions_are_told_from_others_once(self) -> None:
        class Callable:
            async def __call__(self) -> None: ...

        class Sync:
            def __call__(self) -> None: ...

        assert is_async(fetch)
        assert is_async(functools.partial(fetch, "u"))
        assert is_async(functools.partial(functools.partial(fetch), "u"))
        assert is_async(Callable())
        assert is_async(functools.partial(Callable()))
        assert not is_async(add)
        assert not is_async(Sync())
        assert not is_async(functools.partial(add, 1))
        assert TaskQ("shop").task(fetch).is_async
        assert not TaskQ("shop").task(add).is_async
