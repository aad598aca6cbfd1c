"""Servers in trouble: what passes is waited out, what lasts is an error that says what to do."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest
import redis

from taskq.broker.client import Broker
from taskq.broker.commands import reading
from taskq.broker.commands.producing import Stored
from taskq.errors import (
    BackpressureError,
    BrokerRefused,
    BrokerUnavailable,
    ConfigurationError,
    EnqueueUnknown,
    FormatMismatch,
)
from tests.engine import Lab, envelope
from tests.servers import RedisServer
from tests.support import wait_until

Start = Callable[..., RedisServer]


@pytest.fixture
def own(redis_server: Start) -> RedisServer:
    """A server that only this test uses."""
    return redis_server()


@pytest.fixture
def here(own: RedisServer) -> Iterator[Lab]:
    """A lab on it that gives up after half a second."""
    with Lab(own.url, "own", patience=0.5) as lab:
        lab.enqueue("before")
        yield lab


def patient(lab: Lab, server: RedisServer, timeout: float = 5.0) -> Lab:
    return Lab(server.url, lab.keys.namespace, patience=20.0, timeout=timeout)


@contextlib.contextmanager
def soon(action: Callable[[], object], seconds: float = 0.6) -> Generator[None]:
    """Do something a moment after the body has begun to wait."""
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_a_server_that_is_away_is_waited_for_and_then_unavailable(here: Lab, own: RedisServer) -> None:
    own.stop()
    begun = time.monotonic()
    with pytest.raises(BrokerUnavailable, match=r"no answer from redis://127\.0\.0\.1"):
        here.call(reading.read(here.keys, "PING"))
    assert 0.4 < time.monotonic() - begun < 3
    with pytest.raises(EnqueueUnknown):
        here.broker.run(here.broker.store([envelope("a")]))

    with patient(here, own) as lab, soon(own.start):
        assert lab.enqueue("a")[0].created
    assert here.ready() == ["before", "a"]


def test_a_frozen_server_is_waited_for(here: Lab, own: RedisServer) -> None:
    with patient(here, own, timeout=0.2) as lab:
        lab.enqueue("first")
        thread = threading.Thread(target=lambda: lab.enqueue("second"))
        with own.frozen():
            thread.start()
            thread.join(1.0)
            assert thread.is_alive()
        thread.join(10)
    # It did what it was sent before each timeout, and stored one task.
    assert here.ready() == ["before", "first", "second"]


def test_a_server_that_loads_its_data_is_waited_for(here: Lab, own: RedisServer) -> None:
    value = b"x" * 1_000
    for number in range(300):
        here.redis("SET", f"ballast:{number}", value)
    # A server answers between the keys of its base file, not between the commands that follow.
    own.call("BGREWRITEAOF")
    wait_until(lambda: not _persistence(own)["aof_rewrite_in_progress"], message="the rewrite to end")
    own.stop()
    own.args = ("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
    own.start(wait=False)

    with patient(here, own) as lab:
        wait_until(lambda: _persistence(own).get("loading"), message="the server to load")
        with pytest.raises(BrokerUnavailable, match="still loads its data"):
            here.call(reading.read(here.keys, "EXISTS", "ballast:0"))
        assert lab.enqueue("after")[0].created
        assert lab.ready() == ["before", "after"]


def _persistence(server: RedisServer) -> dict[str, Any]:
    """What INFO says; nothing while it does not answer."""
    with contextlib.suppress(redis.RedisError):
        return dict(server.call("INFO", "persistence"))
    return {}


def test_a_server_in_a_script_without_end_is_waited_for(here: Lab, own: RedisServer) -> None:
    own.call("CONFIG", "SET", "busy-reply-threshold", "50")

    def spin() -> None:
        with contextlib.suppress(Exception):
            own.call("EVAL", "while true do end", 0)

    spinner = threading.Thread(target=spin)
    spinner.start()
    try:
        time.sleep(0.2)
        with pytest.raises(BrokerUnavailable, match="runs a script that does not end"):
            here.enqueue("a")
        with patient(here, own) as lab, soon(lambda: own.call("SCRIPT", "KILL")):
            assert lab.enqueue("a")[0].created
    finally:
        with contextlib.suppress(Exception):
            own.call("SCRIPT", "KILL")
        spinner.join(10)
    assert here.ready() == ["before", "a"]


def test_a_replica_is_waited_for_until_it_is_promoted(
    here: Lab, own: RedisServer, redis_server: Start
) -> None:
    replica = redis_server()
    own.call("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    replica.call("REPLICAOF", "127.0.0.1", own.port)
    wait_until(lambda: replica.call("INFO", "replication")["master_link_status"] == "up")
    wait_until(lambda: replica.call("EXISTS", here.keys.meta), message="the data to arrive")

    with patient(here, replica, timeout=2) as lab:
        with Lab(replica.url, "own", patience=0.3) as hasty:
            for refused in (
                lambda: hasty.enqueue("a"),
                lambda: hasty.hello("p"),
                lambda: hasty.register("p", **{"app.job": "default"}),
                lambda: hasty.cancel("before"),
                lambda: hasty.reap("p"),
            ):
                with pytest.raises(BrokerUnavailable, match="is a replica"):
                    refused()
        with soon(lambda: replica.call("REPLICAOF", "NO", "ONE")):
            assert lab.enqueue("a")[0].created
        assert lab.ready() == ["before", "a"]


def test_a_server_with_too_few_replicas_is_backpressure(here: Lab, own: RedisServer) -> None:
    own.call("CONFIG", "SET", "min-replicas-to-write", "1")
    for refused in (lambda: here.enqueue("a"), lambda: here.hello("p")):
        with pytest.raises(BackpressureError, match="too few replicas"):
            refused()
    own.call("CONFIG", "SET", "min-replicas-to-write", "0")
    assert here.ready() == ["before"]


def test_a_server_that_cannot_write_its_disk_is_backpressure(redis_server: Start) -> None:
    server = redis_server(aof=False)
    with Lab(server.url, "own", patience=0.5) as lab:
        lab.enqueue("before")
        server.call("CONFIG", "SET", "save", "3600 1")
        shutil.rmtree(server.folder)  # where it would write to
        server.call("BGSAVE")
        wait_until(lambda: _persistence(server)["rdb_last_bgsave_status"] == "err")

        with pytest.raises(BackpressureError, match="cannot write to its disk"):
            lab.enqueue("a")

        server.call("CONFIG", "SET", "save", "")
        assert lab.ready() == ["before"]


def test_a_password_that_is_missing_or_wrong_is_refused_at_once(here: Lab, own: RedisServer) -> None:
    own.call("CONFIG", "SET", "requirepass", "secret")
    for url, told in (
        (own.url, "the server wants a password"),
        (own.url.replace("//", "//:wrong@"), "refuses this user or password"),
    ):
        with Lab(url, "own", patience=20) as lab:
            begun = time.monotonic()
            with pytest.raises(BrokerRefused, match=told) as refused:
                lab.enqueue("a")
            assert time.monotonic() - begun < 5
            assert "wrong" not in str(refused.value).replace("wrong number", "")
    with Lab(own.url.replace("//", "//:secret@"), "own") as lab:
        assert lab.enqueue("a")[0].created


@pytest.mark.parametrize("lacks", ["evalsha", "script", "rpush", "hset"])
def test_a_user_without_a_right_is_told_so(here: Lab, own: RedisServer, lacks: str) -> None:
    own.call("ACL", "SETUSER", "worker", "on", ">secret", "~*", "+@all", f"-{lacks}")
    own.call("SCRIPT", "FLUSH")
    with (
        Lab(own.url.replace("//", "//worker:secret@"), "own", patience=20) as lab,
        pytest.raises(BrokerRefused, match="lacks a right") as refused,
    ):
        lab.enqueue("a", delay_ms=0, expires_in_ms=60_000)
    # Of what a script lacks, Redis 7.0 does not say which it is.
    assert lacks in str(refused.value) or own.kind == "redis"


def test_keys_of_others_are_refused(here: Lab, own: RedisServer) -> None:
    own.call("ACL", "SETUSER", "worker", "on", ">secret", "~tq:{mine:*", "+@all")
    with (
        Lab(own.url.replace("//", "//worker:secret@"), "own", patience=20) as lab,
        pytest.raises(BrokerRefused, match="lacks a right"),
    ):
        lab.enqueue("a")
    with Lab(own.url.replace("//", "//worker:secret@"), "mine", patience=20) as lab:
        assert lab.enqueue("a")[0].created


@pytest.mark.contract
def test_the_first_contact_makes_a_namespace(server: RedisServer, namespace: str) -> None:
    with Lab(server.url, namespace) as lab:
        assert lab.redis("EXISTS", lab.keys.meta) == 0
        lab.enqueue("a")
        meta = lab.redis("HGETALL", lab.keys.meta)
        assert dict(zip(meta[::2], meta[1::2], strict=True)).keys() == {b"v", b"n", b"g"}
        assert abs(lab.broker.now_ms() - lab.now_ms()) < 5_000
        lab.wind_up()


@pytest.mark.contract
def test_data_that_is_lost_later_is_said_and_work_goes_on(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.enqueue("a")
    assert caplog.records == []
    for name in lab.names():  # what FLUSHALL does to a namespace
        lab.redis("DEL", lab.keys.prefix + name)

    with caplog.at_level(logging.ERROR, "taskq.broker"):
        assert lab.broker.run(lab.broker.store([envelope("b")])) == [Stored("b", True)]

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "has lost its meta" in caplog.text
    assert lab.ready() == ["b"]


@pytest.mark.contract
@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"v": "2", "n": "1"}, "format 2"),
        ({"v": "1", "n": "3"}, r"3 shard\(s\)"),
        ({"v": "1", "n": "junk"}, r"junk shard\(s\)"),
        ({"v": "junk|\n", "n": "1"}, "format junk"),
        ({"g": "5"}, "format"),
    ],
)
def test_a_namespace_of_another_format_is_refused_and_left_alone(
    server: RedisServer, namespace: str, meta: dict[str, str], told: str
) -> None:
    with Lab(server.url, namespace) as lab:
        lab.redis("HSET", lab.keys.meta, *(word for pair in meta.items() for word in pair))
        before = lab.snapshot()
        for _ in range(2):
            with pytest.raises(FormatMismatch, match=told):
                lab.enqueue("a")
        assert lab.snapshot() == before


@pytest.mark.contract
def test_a_format_that_changes_under_a_client_is_refused(lab: Lab) -> None:
    lab.redis("HSET", lab.keys.meta, "v", "2")
    with pytest.raises(FormatMismatch, match="another format version"):
        lab.enqueue("a")
    lab.redis("HSET", lab.keys.meta, "v", "1")


@pytest.mark.contract
def test_a_meta_of_a_wrong_type_is_set_aside(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.enqueue("a")
    lab.redis("DEL", lab.keys.meta)
    lab.redis("SADD", lab.keys.meta, "junk")
    assert lab.enqueue("b")[0].created
    assert lab.ready() == ["a", "b"]
    assert lab.ttl("wrong:meta") > 0


def test_a_frozen_namespace_is_waited_for(lab: Lab, server: RedisServer, namespace: str) -> None:
    lab.redis("HSET", lab.keys.meta, "frozen", "1")
    with (
        Lab(server.url, namespace, patience=0.3) as hasty,
        pytest.raises(BrokerUnavailable, match="is frozen"),
    ):
        hasty.enqueue("a")
    with soon(lambda: lab.redis("HDEL", lab.keys.meta, "frozen"), 0.3):
        assert lab.enqueue("a")[0].created
    assert lab.ready() == ["a"]


def test_an_old_server_is_named_as_such(lab: Lab) -> None:
    with pytest.raises(ConfigurationError, match="too old"):
        lab.redis("NOSUCHCOMMAND")


def test_no_error_shows_a_password(redis_server: Start) -> None:
    server = redis_server()
    server.stop()
    broker = Broker(server.url.replace("//", "//user:hunter2@"), "own", patience=0.1)
    with pytest.raises(EnqueueUnknown) as unknown:
        broker.run(broker.store([envelope("a")]))
    chain: BaseException | None = unknown.value
    while chain is not None:
        assert "hunter2" not in str(chain)
        chain = chain.__cause__
    assert "hunter2" not in repr(broker)
    broker.close()
