"""The pool of blocking connections: which one a call gets, and what becomes of it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from redis.exceptions import ResponseError

from taskq.broker import connection
from taskq.broker.connect import parse_url
from taskq.broker.faults import DRIVER_ERRORS
from taskq.broker.pool import Pool
from tests.proxy import Fate, Proxy, all_pass
from tests.servers import RedisServer
from tests.support import wait_until


@pytest.fixture(params=["hiredis", "driver"])
def make(
    server: RedisServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Pool]]:
    if request.param == "driver":  # as where hiredis is not installed, and over what has no socket
        monkeypatch.setattr(connection, "_hiredis", None)
    with contextlib.ExitStack() as pools:
        yield lambda **given: pools.enter_context(contextlib.closing(Pool(parse_url(server.url), 5, **given)))


def test_one_call_after_the_other_uses_one_connection(make: Callable[..., Pool]) -> None:
    pool = make()

    assert len({pool.call("CLIENT", "ID") for _ in range(20)}) == 1


def test_a_refusal_of_the_server_costs_no_connection(make: Callable[..., Pool]) -> None:
    pool = make(size=1)
    before = pool.call("CLIENT", "ID")
    with pytest.raises(ResponseError):
        pool.call("NONSENSE")

    assert pool.call("CLIENT", "ID") == before


def test_a_connection_that_the_server_has_closed_is_not_used(
    make: Callable[..., Pool], server: RedisServer
) -> None:
    pool = make()
    before = pool.call("CLIENT", "ID")
    server.call("CLIENT", "KILL", "ID", before)

    assert pool.call("CLIENT", "ID") > before


def test_calls_that_fail_use_up_nothing(proxy: Proxy) -> None:
    with contextlib.closing(Pool(parse_url(proxy.url), 5, size=2, patience=0)) as pool:
        pool.call("PING")
        proxy.judge = lambda _words: Fate.LOSE_COMMAND
        for _ in range(5):
            with pytest.raises(DRIVER_ERRORS):
                pool.call("PING")
        proxy.judge = all_pass

        assert pool.call("PING") == b"PONG"


def test_who_finds_all_in_use_for_too_long_is_told(make: Callable[..., Pool], server: RedisServer) -> None:
    pool = make(size=1, patience=0.05)
    holder = threading.Thread(target=pool.call, args=("BLPOP", "never", "0.5"))
    holder.start()
    wait_until(lambda: server.call("INFO", "clients")["blocked_clients"] == 1)
    with pytest.raises(TimeoutError, match="all 1 connections were in use"):
        pool.call("PING")
    holder.join()

    assert pool.call("PING") == b"PONG"


def test_a_fork_has_connections_of_its_own(make: Callable[..., Pool]) -> None:
    pool = make(size=1)
    ours = pool.call("CLIENT", "ID")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, b"%d" % pool.call("CLIENT", "ID"))
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = int(os.read(reader, 100))
    os.close(reader)
    os.close(writer)

    assert theirs != ours
    assert pool.call("CLIENT", "ID") == ours


def test_a_connection_in_use_is_closed_when_its_call_ends(
    make: Callable[..., Pool], server: RedisServer
) -> None:
    pool = make()
    replies: list[object] = []
    holder = threading.Thread(target=lambda: replies.append(pool.call("BLPOP", "list", "5")))
    holder.start()
    wait_until(lambda: server.call("INFO", "clients")["blocked_clients"] == 1)
    before = server.call("INFO", "clients")["connected_clients"]
    pool.close()
    server.call("RPUSH", "list", "x")
    holder.join()

    assert replies == [[b"list", b"x"]]
    wait_until(lambda: server.call("INFO", "clients")["connected_clients"] < before)
