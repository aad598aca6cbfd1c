"""The servers that all other integration tests stand on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.leaks import leaks, ttls_of
from tests.servers import RedisServer

Start = Callable[..., RedisServer]

LEAKING = """
def test_that_cleans_up(server, namespace):
    server.call("SET", f"tq:{{{namespace}:0}}:inbox:c1", "1", "PX", 60_000)

def test_that_leaks(server, namespace):
    server.call("SET", f"tq:{{{namespace}:0}}:inbox:c1", "1")
"""


@pytest.mark.contract
def test_a_shared_server_answers(server: RedisServer, namespace: str) -> None:
    server.call("SET", f"tq:{{{namespace}:0}}:meta", "1")
    assert server.call("GET", f"tq:{{{namespace}:0}}:meta") == b"1"


def test_a_server_with_an_append_only_file_keeps_its_data(redis_server: Start) -> None:
    server = redis_server("--appendfsync", "always")
    server.call("SET", "kept", "1")

    url, pid = server.url, server.pid
    server.kill()
    assert not server.running()
    server.start()

    assert (server.url, server.pid != pid) == (url, True)
    assert server.call("GET", "kept") == b"1"
    server.restart()
    assert server.call("GET", "kept") == b"1"


def test_a_server_without_one_forgets(redis_server: Start) -> None:
    server = redis_server(aof=False)
    server.call("SET", "lost", "1")
    server.restart()
    assert server.call("GET", "lost") is None


def test_a_frozen_server_answers_only_after_it_thawed(redis_server: Start) -> None:
    server = redis_server()
    with server.client(socket_timeout=0.2) as client:
        client.ping()
        with server.frozen(), pytest.raises(redis.TimeoutError):
            client.ping()
    assert server.call("PING")


def test_further_options_reach_the_server(redis_server: Start) -> None:
    server = redis_server("--maxmemory", "50mb")

    assert server.call("INFO", "memory")["maxmemory"] == 50 * 1024 * 1024


@pytest.mark.contract
@pytest.mark.leaves_work
def test_the_leak_check_sees_all_shards_and_all_keys_without_ttl(server: RedisServer, namespace: str) -> None:
    with server.client() as client:
        client.set(f"tq:{{{namespace}:0}}:t:1", "1")
        client.set(f"tq:{{{namespace}:12}}:stats:1", "1", px=60_000)
        client.set(f"tq:{{{namespace}:12}}:x:1", "1")
        client.set(f"tq:{{{namespace}2:0}}:stray", "1", px=60_000)

        ttls = ttls_of(client, namespace)

    assert sorted(key.partition("}:")[2] for key in ttls) == ["stats:1", "t:1", "x:1"]
    assert leaks(ttls, leaves_work=True) == []
    assert leaks(ttls, leaves_work=False) == [f"tq:{{{namespace}:0}}:t:1", f"tq:{{{namespace}:12}}:x:1"]


def test_a_test_that_leaks_a_key_fails(server_kind: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_some.py").write_text(LEAKING)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:asyncio",
        "-k",
        server_kind,
    ]

    done = subprocess.run(
        [*command, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50
    )

    assert done.returncode == 1
    assert "2 passed, 2 deselected, 1 error" in done.stdout
    assert "ERROR at teardown of test_that_leaks" in done.stdout
    assert ":0}:inbox:c1" in done.stdout
