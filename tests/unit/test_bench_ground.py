"""What `taskq bench` asks of its ground and of its command line before it measures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskq.cli.bench import ground
from taskq.cli.bench.gauges import cpu_seconds
from taskq.errors import BackpressureError, BrokerUnavailable, ConfigurationError
from tests.commandline import Taskq, settle_in

MB = 1_000_000
INFO = {"maxmemory": "0", "used_memory": "1000000", "total_system_memory": "101000000"}


@pytest.mark.parametrize(
    ("asked", "each", "info", "most"),
    [
        (None, 1_000, INFO, 10_000),  # a tenth of 100 MB
        (None, 10, INFO, 100_000),
        (50_000, 1_000, INFO, 50_000),  # half of it
        (None, 1_000, INFO | {"maxmemory": "11000000"}, 1_000),
    ],
)
def test_tasks_have_to_fit_into_the_server(
    asked: int | None, each: int, info: dict[str, str], most: int
) -> None:
    assert ground.most_tasks(info, each, asked, usual=100_000) == most


@pytest.mark.parametrize(("asked", "each"), [(50_001, 1_000), (None, MB)])
def test_too_many_are_refused_before_one_is_sent(asked: int | None, each: int) -> None:
    with pytest.raises(ConfigurationError, match="give a smaller --tasks or --payload"):
        ground.most_tasks(INFO, each, asked, usual=100_000)


def test_a_replica_and_a_full_server_are_refused_with_what_to_do() -> None:
    replica = INFO | {"role": "slave", "master_host": "10.0.0.1", "master_port": "6379"}
    full = INFO | {"maxmemory": "1000000"}

    with pytest.raises(BrokerUnavailable, match=r"name its master, 10\.0\.0\.1:6379"):
        ground.refuse_replica(replica, "redis://here")
    with pytest.raises(BackpressureError, match="maxmemory is 1,000,000; raise it"):
        ground.refuse_full(full, "redis://here")
    ground.refuse_replica(INFO, "redis://here")
    ground.refuse_full(INFO, "redis://here")


def test_processor_time_is_read_and_of_a_dead_process_is_none() -> None:
    own = cpu_seconds(os.getpid())

    assert own is not None
    assert own > 0
    assert cpu_seconds(2**22 + 1) is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "10"], "10 is not in the range"),
        (["--tasks", "many"], "'many' is not a valid integer"),
        (["--processes", "0"], "0 is not in the range"),
        (["--payload", "huge"], "a size is a number of bytes"),
        (["--payload", "-1"], "a size is a number of bytes"),
        (["--url", "nonsense"], "has no scheme"),
        (["--url", "memory://tests"], "workers could not reach it"),
        (["what"], "unexpected extra argument"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settle_in(monkeypatch, tmp_path)

    answer = Taskq(capsys)("bench", *arguments)

    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1
    assert answer.out == ""
