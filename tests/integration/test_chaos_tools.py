"""The instruments of the torture suite do what they say: shims, broken connections, an AOF that lost its end."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.chaos.lag import Sampler
from tests.chaos.shims import Shim, environ_of
from tests.proxy import Fate, Proxy, at_random, nth
from tests.servers import RedisServer
from tests.support import wait_until
from tests.workers import steadily

PING = b"*1\r\n$4\r\nPING\r\n"


def through(proxy: Proxy, timeout: float = 5) -> socket.socket:
    return socket.create_connection(
        ("127.0.0.1", int(proxy.url.split(":")[2].split("/")[0])), timeout=timeout
    )


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_a_clock_moves_live_and_leaves_the_monotonic_one(tmp_path: Path, kind: str) -> None:
    clock = Shim("clock", tmp_path)
    server = RedisServer(kind, tmp_path / "server", environ=environ_of(clock))
    server.start()
    try:
        for seconds in (0, 86_400, -3_600):
            clock.set(seconds)
            assert server.call("TIME")[0] - time.time() == pytest.approx(seconds, abs=2)
    finally:
        server.stop()

    clock.set(1_000_000)
    code = "import time, datetime; print(time.time(), datetime.datetime.now().timestamp(), time.monotonic())"
    told = subprocess.run(
        [sys.executable, "-c", code], env=environ_of(clock), capture_output=True, text=True, check=True
    )
    wall, now, monotonic = map(float, told.stdout.split())
    assert wall - time.time() == pytest.approx(1_000_000, abs=2)
    assert now - time.time() == pytest.approx(1_000_000, abs=2)
    assert monotonic == pytest.approx(time.monotonic(), abs=2)


def test_fsync_takes_as_long_as_it_is_told_to(tmp_path: Path) -> None:
    slow = Shim("fsync", tmp_path)
    server = RedisServer("redis", tmp_path / "server", "--appendfsync", "always", environ=environ_of(slow))
    server.start()
    try:
        began = time.monotonic()
        server.call("SET", "k", "1")
        quick = time.monotonic() - began
        slow.set(0.5)
        server.call("SET", "k", "2")
        assert time.monotonic() - began - quick > 0.5
        assert quick < 0.4
    finally:
        slow.set(0)
        server.stop()


def test_a_power_cut_leaves_what_was_synced(tmp_path: Path) -> None:
    disk = Shim("fsync", tmp_path)
    server = RedisServer("redis", tmp_path / "server", "--appendfsync", "always", environ=environ_of(disk))
    server.start()
    try:
        server.call("SET", "synced", "1")
        server.call("CONFIG", "SET", "appendfsync", "no")
        server.call("SET", "written", "1")
        server.kill()
        assert server.keep_aof(disk.synced) > 0
        server.start()
        assert server.call("EXISTS", "synced") == 1
        assert server.call("EXISTS", "written") == 0
    finally:
        server.stop()


def test_what_is_cut_off_the_aof_is_gone_after_a_restart(tmp_path: Path) -> None:
    server = RedisServer("redis", tmp_path)
    server.start()
    try:
        for n in range(100):
            server.call("SET", f"k{n}", "v")
        server.kill()
        assert server.cut_aof(500) == 500
        server.start()
        assert 0 < server.call("DBSIZE") < 100
    finally:
        server.stop()


def test_a_blackhole_passes_nothing_and_hides_the_end_of_a_connection_until_it_heals(
    server: RedisServer, proxy: Proxy
) -> None:
    with through(proxy, timeout=0.3) as connection:
        connection.sendall(PING)
        assert connection.recv(64) == b"+PONG\r\n"
        with proxy.blackhole():
            connection.sendall(PING)
            with pytest.raises(TimeoutError):
                connection.recv(64)
        connection.settimeout(5)
        assert connection.recv(64) == b"+PONG\r\n"

    name = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$5\r\nfaint\r\n"
    connection = through(proxy)
    connection.sendall(name)
    assert connection.recv(64) == b"+OK\r\n"
    with proxy.blackhole():
        connection.close()
        steadily(lambda: b"name=faint" in server.call("CLIENT", "LIST"), 0.3, "the server heard of the end")
    wait_until(lambda: b"name=faint" not in server.call("CLIENT", "LIST"))


def test_a_way_that_forgets_leaves_old_connections_dead_and_takes_new_ones(
    server: RedisServer, proxy: Proxy
) -> None:
    with through(proxy, timeout=0.3) as old:
        old.sendall(PING)
        assert old.recv(64) == b"+PONG\r\n"
        with proxy.blackhole(forgets=True):
            old.sendall(PING)
        with through(proxy) as new:
            new.sendall(PING)
            assert new.recv(64) == b"+PONG\r\n"
        with pytest.raises(TimeoutError):
            old.recv(64)


def test_a_connection_that_is_cut_by_a_reset_says_so(server: RedisServer) -> None:
    with Proxy(server.port, nth("PING", 1, Fate.LOSE_REPLY), reset=True) as proxy:
        with through(proxy) as connection:
            connection.sendall(PING)
            with pytest.raises(ConnectionResetError):
                connection.recv(64)
        with through(proxy) as connection:
            connection.sendall(PING)
            assert connection.recv(64) == b"+PONG\r\n"


def test_half_closed_the_client_sees_the_end_and_the_server_does_not(server: RedisServer) -> None:
    name = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$4\r\nhalf\r\n"
    with Proxy(server.port, nth("PING", 1, Fate.HALF_CLOSE)) as proxy, through(proxy) as connection:
        connection.sendall(name)
        assert connection.recv(64) == b"+OK\r\n"
        connection.sendall(PING)
        assert connection.recv(64) == b""
        assert b"name=half" in server.call("CLIENT", "LIST")
        connection.sendall(PING)


def test_fates_come_as_often_as_their_odds_and_alike_for_a_seed() -> None:
    odds = {"PING": {Fate.LOSE_REPLY: 0.3, Fate.LOSE_COMMAND: 0.1}}
    first, second = (at_random(odds, random.Random(7)) for _ in range(2))
    drawn = [first([b"PING"]) for _ in range(2_000)]

    assert drawn == [second([b"PING"]) for _ in range(2_000)]
    assert drawn.count(Fate.LOSE_REPLY) == pytest.approx(600, abs=90)
    assert drawn.count(Fate.LOSE_COMMAND) == pytest.approx(200, abs=60)
    assert {first([b"GET", b"k"]) for _ in range(100)} == {Fate.PASS}


def test_a_machine_that_wakes_us_late_is_noticed() -> None:
    with Sampler() as sampler:
        time.sleep(0.5)
    calm = sampler.p99_s
    with Sampler() as sampler:
        time.sleep(0.3)
        for _ in range(3):
            with sampler.stopped():
                time.sleep(0.5)
            time.sleep(0.02)

    assert sampler.p99_s > 0.2 > calm
    assert not sampler.valid
