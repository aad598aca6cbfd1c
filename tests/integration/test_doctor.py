"""The doctor, and each check of the namespace with one that is broken in just that way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskq.broker.client import Broker
from taskq.broker.commands import operating
from taskq.cli import run
from taskq.cli.exits import Exit
from taskq.inspector.doctor import Status
from taskq.inspector.namespace_checks import NAMESPACE_CHECKS
from taskq.inspector.server_checks import SERVER_CHECKS
from taskq.stores import open_store
from tests.hand import Hand, put
from tests.servers import RedisServer
from tests.sight import finding, findings
from tests.support import wait_until

pytestmark = pytest.mark.leaves_work

Start = Callable[..., RedisServer]


def test_a_healthy_server_passes_every_check(redis_server: Start, capsys: pytest.CaptureFixture[str]) -> None:
    own = redis_server("--maxmemory-policy", "noeviction", "--save", "")

    found = findings(own.url)

    # How busy this machine is says nothing of the server.
    slow = {one.check for group in found.values() for one in group if one.status is not Status.OK}
    assert slow <= {"latency"}
    assert run(["doctor", "--url", own.url, "--namespace", "test-doctor"]) == Exit.OK
    out = capsys.readouterr().out
    assert [check for check, _ in (*SERVER_CHECKS, *NAMESPACE_CHECKS) if f" {check} " not in out] == []


def test_a_problem_is_exit_code_1_and_stands_in_the_json(
    redis_server: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    own = redis_server(aof=False)

    assert run(["doctor", "--json", "--url", own.url]) == Exit.NO
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["findings", "mended"]
    [aof] = [one for one in document["findings"] if one["check"] == "aof"]
    assert aof["status"] == "problem"
    assert "set appendonly yes" in aof["says"]


def test_a_store_of_payloads_is_asked_where_one_is_named(
    redis_server: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = redis_server()

    def told(folder: Path) -> list[tuple[str, str]]:
        monkeypatch.setenv("TASKQ_OFFLOAD_TO", folder.as_uri())
        run(["doctor", "--json", "--url", own.url])
        found = json.loads(capsys.readouterr().out)["findings"]
        return [(one["status"], one["says"]) for one in found if one["check"] == "payloads"]

    [(status, says)] = told(tmp_path / "later")
    assert (status, "the first write makes it" in says) == ("warning", True)
    assert not (tmp_path / "later").exists()

    open_store((tmp_path / "later").as_uri(), "taskq").put("0-abc~m0", b"x")
    [(status, says)] = told(tmp_path / "later")
    assert (status, "answers" in says) == ("ok", True)

    (tmp_path / "file").touch()
    [(status, says)] = told(tmp_path / "file")
    assert (status, "cannot be read" in says) == ("problem", True)

    monkeypatch.delenv("TASKQ_OFFLOAD_TO")
    run(["doctor", "--json", "--url", own.url])
    assert '"payloads"' not in capsys.readouterr().out


@pytest.mark.contract
def test_a_full_queue_is_a_warning(server: RedisServer, broker: Broker, namespace: str) -> None:
    Hand(broker, "mail", "other")
    for queue in ("mail", "other"):
        broker.call(operating.bound(broker.keys[0], queue, "set", 2))
        put(broker, queue=queue)
    assert finding(server.url, "waiting", namespace).status is Status.OK
    put(broker, queue="mail")

    found = finding(server.url, "waiting", namespace)

    assert found.status is Status.WARNING
    assert found.says == (
        "queue 'mail' is full (2 ready, max_length 2) and refuses new tasks: run more workers, or "
        "`taskq max-length mail N`"
    )


@pytest.mark.contract
def test_ready_work_that_nobody_serves_is_a_problem(
    server: RedisServer, broker: Broker, namespace: str
) -> None:
    put(broker, queue="mail")
    served = Hand(broker, "served")
    put(broker, queue="served")

    found = finding(server.url, "waiting", namespace)

    assert found.status is Status.PROBLEM
    assert "'mail'" in found.says
    assert "start one with -Q mail" in found.says
    served.take()


@pytest.mark.contract
def test_ready_work_in_a_paused_queue_is_a_warning(
    server: RedisServer, broker: Broker, namespace: str
) -> None:
    put(broker, queue="mail")
    with server.client() as client:
        client.hset(broker.keys[0].queues, "mail", "paused")

    found = finding(server.url, "waiting", namespace)

    assert found.status is Status.WARNING
    assert "`taskq resume mail`" in found.says


@pytest.mark.contract
def test_a_process_without_a_lease_is_told(server: RedisServer, broker: Broker, namespace: str) -> None:
    silent = Hand(broker, lease_ms=1)
    with server.client() as client:
        client.hset(broker.keys[0].held("ghost"), "x", "1:1:1:0")
    wait_until(
        lambda: silent.process in finding(server.url, "processes", namespace).says, message="the lease to end"
    )

    alone = finding(server.url, "processes", namespace)
    assert alone.status is Status.PROBLEM
    assert "ghost" in alone.says
    assert "no worker lives to take back" in alone.says

    Hand(broker)
    assert finding(server.url, "processes", namespace).status is Status.WARNING


@pytest.mark.contract
def test_a_record_that_nothing_points_to_is_a_problem_that_fix_mends(
    server: RedisServer, broker: Broker, namespace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hand = Hand(broker, "mail")
    task_id = put(broker, queue="mail")
    hand.take()
    with server.client() as client:
        client.hdel(broker.keys[0].held(hand.process), task_id)

    found = finding(server.url, "orphans", namespace)
    assert found.status is Status.PROBLEM
    assert task_id in found.says
    assert "`taskq doctor --fix`" in found.says

    run(["doctor", "--fix", "--json", "--url", server.url, "--namespace", namespace])
    document = json.loads(capsys.readouterr().out)
    assert document["mended"] == 1
    assert finding(server.url, "orphans", namespace).status is Status.OK
    assert [claimed.id for claimed in hand.take()] == [task_id]


@pytest.mark.contract
def test_a_task_that_has_lost_its_keys_is_a_warning(
    server: RedisServer, broker: Broker, namespace: str
) -> None:
    task_id = put(broker, queue="mail")
    with server.client() as client:
        client.delete(broker.keys[0].message(task_id))
    Hand(broker, "mail").take()

    found = finding(server.url, "limbo", namespace)

    assert found.status is Status.WARNING
    assert "1 task without record and message" in found.says


@pytest.mark.contract
def test_bytes_that_fit_nowhere_are_a_warning(server: RedisServer, broker: Broker, namespace: str) -> None:
    task_id = put(broker, queue="mail")
    with server.client() as client:
        client.set(broker.keys[0].record(task_id), "junk")
    Hand(broker, "mail").take()

    found = finding(server.url, "quarantine", namespace)

    assert found.status is Status.WARNING
    assert "unreadable" in found.says


@pytest.mark.contract
def test_a_parked_task_is_a_warning_that_names_it(
    server: RedisServer, broker: Broker, namespace: str
) -> None:
    put(broker, "shop.new", queue="mail")
    hand = Hand(broker, "mail")
    hand.park(hand.take_one())

    found = finding(server.url, "parked", namespace)

    assert found.status is Status.WARNING
    assert "1 task of which no worker has the code (shop.new)" in found.says


@pytest.mark.contract
def test_dead_letters_are_counted(server: RedisServer, broker: Broker, namespace: str) -> None:
    hand = Hand(broker, "mail", "other")
    for queue in ("mail", "mail", "other"):
        put(broker, queue=queue)
    for claimed in hand.take():
        hand.fail(claimed)

    found = finding(server.url, "dead letters", namespace)

    assert found.status is Status.WARNING
    assert found.says.startswith("3 dead letters")


def test_what_a_user_may_not_see_is_not_checked(redis_server: Start) -> None:
    own = redis_server()
    own.call("ACL", "SETUSER", "worker", "on", ">pw", "~tq:*", "+@all", "-info", "-config")

    found = findings(own.url.replace("redis://", "redis://worker:pw@"))

    for check in ("version", "memory", "aof", "fsync", "clients", "slots"):
        [one] = found[check]
        assert one.status is Status.NOT_CHECKED, check
        assert "the server refuses" in one.says
    assert found["clock"][0].status is Status.OK
    assert found["orphans"][0].status is Status.OK


def test_without_config_the_rest_of_the_server_is_still_checked(redis_server: Start) -> None:
    own = redis_server("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    own.call("ACL", "SETUSER", "worker", "on", ">pw", "~tq:*", "+@all", "-config")

    found = findings(own.url.replace("redis://", "redis://worker:pw@"))

    assert found["memory"][0].status is Status.PROBLEM
    assert found["clients"][0].status is Status.NOT_CHECKED


def test_a_server_that_is_away_is_no_diagnosis(
    redis_server: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("taskq.cli.server_options._PATIENCE_S", 0.1)
    own = redis_server()
    url = own.url
    own.stop()

    assert run(["doctor", "--url", url]) == Exit.BROKER
    captured: Any = capsys.readouterr()
    assert captured.out == ""
    assert "is it running" in captured.err
