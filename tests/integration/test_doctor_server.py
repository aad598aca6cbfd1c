"""Each check of the server, with one that is broken in just that way."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable

import pytest

from taskq.inspector import server_checks
from taskq.inspector.doctor import Status
from tests.liar import Change, bulk, lying, text_of
from tests.servers import RedisServer
from tests.sight import finding, findings
from tests.support import wait_until

Start = Callable[..., RedisServer]


def saying(said: dict[str, str]) -> Change:
    """A server whose INFO says what is said here."""

    def change(words: tuple[bytes, ...], reply: bytes) -> bytes:
        if words[0].upper() != b"INFO":
            return reply
        text = text_of(reply)
        for name, value in said.items():
            text, changed = re.subn(rf"(?m)^{name}:[^\r\n]*", f"{name}:{value}", text)
            assert changed, f"INFO says nothing of {name}"
        return bulk(text)

    return change


def stands_still(_: float) -> float:
    return 120.0


def truth(_: tuple[bytes, ...], reply: bytes) -> bytes:
    return reply


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_evicts_is_a_problem(policy: str, redis_server: Start) -> None:
    own = redis_server("--maxmemory", "50mb", "--maxmemory-policy", policy)

    found = finding(own.url, "memory")

    assert found.status is Status.PROBLEM
    assert f"maxmemory-policy is {policy}" in found.says
    assert "set it to noeviction" in found.says


def test_a_server_that_has_evicted_is_a_problem_whatever_its_policy_is_now(redis_server: Start) -> None:
    own = redis_server()

    with lying(own.port, saying({"evicted_keys": "12"})) as url:
        found = finding(url, "memory")

    assert found.status is Status.PROBLEM
    assert "evicted 12 keys" in found.says


def test_a_policy_that_would_evict_is_a_warning(redis_server: Start) -> None:
    own = redis_server("--maxmemory-policy", "allkeys-lru")

    assert finding(own.url, "memory").status is Status.WARNING


def test_a_server_that_is_nearly_full_is_a_warning(redis_server: Start) -> None:
    own = redis_server("--maxmemory", "50mb")
    used = int(own.client().info("memory")["used_memory"])
    own.call("CONFIG", "SET", "maxmemory", int(used * 1.02))

    found = finding(own.url, "memory")

    assert found.status is Status.WARNING
    assert "% of maxmemory are used" in found.says


def test_a_server_without_aof_is_a_problem(redis_server: Start) -> None:
    own = redis_server(aof=False)

    assert finding(own.url, "aof").status is Status.PROBLEM
    assert finding(own.url, "fsync").status is Status.NOT_CHECKED


def test_an_aof_that_cannot_be_written_is_a_problem(redis_server: Start) -> None:
    own = redis_server()
    with lying(own.port, saying({"aof_last_write_status": "err"})) as url:
        found = finding(url, "aof")

    assert found.status is Status.PROBLEM
    assert "cannot write its AOF" in found.says


def test_a_rewrite_that_failed_is_a_warning(redis_server: Start) -> None:
    own = redis_server()
    with lying(own.port, saying({"aof_last_bgrewrite_status": "err"})) as url:
        assert finding(url, "aof").status is Status.WARNING


def test_a_snapshot_that_failed_is_a_problem(redis_server: Start) -> None:
    own = redis_server(aof=True)
    shutil.rmtree(own.folder)
    own.call("BGSAVE")
    wait_until(lambda: own.client().info("persistence")["rdb_last_bgsave_status"] == "err")
    own.folder.mkdir()

    found = finding(own.url, "aof")

    assert found.status is Status.PROBLEM
    assert "the last snapshot failed" in found.says


def test_an_fsync_that_was_late_is_a_warning(redis_server: Start) -> None:
    own = redis_server()
    with lying(own.port, saying({"aof_delayed_fsync": "7"})) as url:
        found = finding(url, "fsync")

    assert found.status is Status.WARNING
    assert "late 7 times" in found.says


def test_a_server_that_never_fsyncs_is_a_warning(redis_server: Start) -> None:
    own = redis_server("--appendfsync", "no")

    found = finding(own.url, "fsync")

    assert found.status is Status.WARNING
    assert "appendfsync is no" in found.says


@pytest.mark.parametrize(("name", "value"), [("timeout", "300"), ("maxmemory-clients", "1000000")])
def test_a_server_that_cuts_off_clients_is_a_warning(name: str, value: str, redis_server: Start) -> None:
    own = redis_server()
    own.call("CONFIG", "SET", name, value)

    found = finding(own.url, "clients")

    assert found.status is Status.WARNING
    assert f"{name} is {value}" in found.says


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("6.2.14", Status.PROBLEM),
        ("7.0.0", Status.OK),
        ("7.4.1", Status.OK),
        ("unstable", Status.NOT_CHECKED),
    ],
)
def test_redis_must_be_7_0_or_newer(said: str, status: Status, redis_server: Start) -> None:
    own = redis_server()

    def change(words: tuple[bytes, ...], reply: bytes) -> bytes:
        if words[0].upper() != b"INFO":
            return reply
        plain = re.sub(r"(?m)^valkey_version:.*\n", "", text_of(reply))
        return bulk(re.sub(r"(?m)^redis_version:[^\r\n]*", f"redis_version:{said}", plain))

    with lying(own.port, change) as url:
        assert finding(url, "version").status is status


@pytest.mark.parametrize(("said", "status"), [("7.1.0", Status.PROBLEM), ("7.2.0", Status.OK)])
def test_valkey_must_be_7_2_or_newer(said: str, status: Status, redis_server: Start) -> None:
    own = redis_server()

    def change(words: tuple[bytes, ...], reply: bytes) -> bytes:
        if words[0].upper() != b"INFO":
            return reply
        plain = re.sub(r"(?m)^valkey_version:.*\n", "", text_of(reply))
        return bulk(f"valkey_version:{said}\r\n{plain}")

    with lying(own.port, change) as url:
        found = finding(url, "version")
    assert found.status is status
    assert f"Valkey {said}" in found.says


@pytest.mark.parametrize(
    ("off_s", "status", "said"),
    [(0, Status.OK, "apart"), (-5, Status.WARNING, "behind"), (3_600, Status.PROBLEM, "ahead of")],
)
def test_a_clock_that_is_wrong_is_told(off_s: int, status: Status, said: str, redis_server: Start) -> None:
    own = redis_server()

    def change(words: tuple[bytes, ...], reply: bytes) -> bytes:
        if words[0].upper() != b"TIME":
            return reply
        now = time.time() + off_s
        return b"*2\r\n" + bulk(str(int(now))) + bulk(str(int(now % 1 * 1e6)))

    with lying(own.port, change) as url:
        found = finding(url, "clock")
    assert found.status is status
    assert said in found.says


def test_a_long_way_is_no_wrong_clock(redis_server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    own = redis_server()
    monkeypatch.setattr(server_checks, "_PINGS", 3)
    monkeypatch.setattr(server_checks, "_SKEWED_S", 0.02)
    with lying(own.port, truth, delay=0.06) as url:
        assert finding(url, "clock").status is Status.OK


@pytest.mark.parametrize(("delay", "status"), [(0.01, Status.WARNING), (0.08, Status.PROBLEM)])
def test_a_server_that_is_slow_is_told(
    delay: float, status: Status, redis_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = redis_server()
    monkeypatch.setattr(
        server_checks, "_PAUSE_MS", 1e9
    )  # how busy this machine is, is another test's subject
    monkeypatch.setattr(server_checks, "_PINGS", 5)

    def only_ping(words: tuple[bytes, ...], reply: bytes) -> bytes:
        if words[0].upper() == b"PING":
            time.sleep(delay)
        return reply

    with lying(own.port, only_ping) as url:
        found = finding(url, "latency")
    assert found.status is status
    assert "PING takes" in found.says


def test_a_machine_that_stands_still_is_told(redis_server: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    own = redis_server()
    monkeypatch.setattr(server_checks, "longest_pause_ms", stands_still)

    found = finding(own.url, "latency")

    assert found.status is Status.WARNING
    assert "this machine paused for 120.00 ms" in found.says


def test_slots_on_the_move_are_told(redis_server: Start) -> None:
    one, other = (redis_server("--cluster-enabled", "yes") for _ in range(2))
    one.call("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
    wait_until(lambda: b"cluster_state:ok" in one.call("CLUSTER", "INFO"), message="the cluster to be up")
    still = [found.says for found in findings(one.url)["slots"]]
    one.call("CLUSTER", "MEET", "127.0.0.1", other.port)
    there = other.call("CLUSTER", "MYID")
    wait_until(lambda: there in one.call("CLUSTER", "NODES"), message="the nodes to know each other")
    one.call("CLUSTER", "SETSLOT", 42, "MIGRATING", there)

    moving = findings(one.url)["slots"]

    assert [found.status for found in moving] == [Status.PROBLEM, Status.PROBLEM]
    assert "taskq cannot use yet" in moving[0].says
    assert "slots are on the move (42)" in moving[1].says
    assert len(still) == 1
