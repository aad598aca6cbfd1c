"""The users of docs/security.md: each can do its work, and nothing that only an operator should."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from taskq import TaskQ
from taskq.broker import durable
from taskq.errors import BrokerRefused, ConfigurationError
from tests.commandline import ROOT, Taskq, settle_in
from tests.workers import Yard

PAGE = ROOT / "docs" / "security.md"


@pytest.fixture
def yard(tmp_path: Path, server_kind: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    with Yard(tmp_path, server_kind) as yard:
        users = re.findall(r"^user (\w+) +(.+)$", PAGE.read_text("utf-8"), re.MULTILINE)
        assert [name for name, _ in users] == ["producer", "worker", "viewer"]
        for name, rights in users:
            rights = rights.replace("{taskq:", f"{{{yard.namespace}:")
            yard.server.call("ACL", "SETUSER", name, *rights.split())
        settle_in(monkeypatch, tmp_path, url_of(yard, "viewer"), yard.namespace)
        yield yard


def url_of(yard: Yard, user: str) -> str:
    return yard.server.url.replace("://", f"://{user}:PASSWORD@")


def app_of(yard: Yard, user: str, monkeypatch: pytest.MonkeyPatch) -> TaskQ:
    monkeypatch.setenv("TASKQ_REDIS_URL", url_of(yard, user))
    return TaskQ("tests", namespace=yard.namespace)


def test_each_user_can_do_its_work(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = yard.worker("deadly", url=url_of(yard, "worker"))
    producer = app_of(yard, "producer", monkeypatch)
    work = producer.named("tests.tests.apps.deadly.work", "default")

    assert work.enqueue(0).result(timeout=10) == 1
    assert [one.get().result(timeout=10) for one in work.enqueue_many([(0,), (0,)])] == [1, 1]
    assert work.using(delay="1h", key="once").enqueue(0).cancel().value == "cancelled"

    monkeypatch.setenv("TASKQ_REDIS_URL", url_of(yard, "viewer"))
    taskq = Taskq(capsys)
    for command in ("queues", "tasks", "workers", "registered", "dead list"):
        assert taskq(*command.split(), "--json").code == 0, command
    found = {one["check"]: one["status"] for one in taskq("doctor", "--json").json["findings"]}
    assert found["memory"] == "ok"
    assert [check for check, status in found.items() if status == "not checked"] == ["fsync", "clients"]

    assert worker.stop() == 0
    producer.close()


def test_a_producer_may_wait_for_the_disk_where_waitaof_is_true(
    yard: Yard, server_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = app_of(yard, "producer", monkeypatch)
    safe = producer.named("tests.nobody", "default").using(durability="fsync")

    if server_kind == "valkey":
        monkeypatch.setattr(durable, "waitaof_is_true", lambda _: True)
        assert safe.enqueue().cancel().value == "cancelled"
    else:  # it takes a right that the page gives nobody
        with pytest.raises(ConfigurationError, match="does not tell its settings"):
            safe.enqueue()
    producer.close()


@pytest.mark.parametrize("user", ["producer", "worker", "viewer"])
def test_no_user_can_do_what_only_an_operator_should(yard: Yard, user: str) -> None:
    with redis.Redis.from_url(url_of(yard, user)) as client:
        for command in ("FLUSHALL", "CONFIG GET *", "KEYS *", "ACL LIST", "CLIENT LIST", "SHUTDOWN"):
            with pytest.raises(redis.ResponseError, match="permission"):
                client.execute_command(*command.split())
        with pytest.raises(redis.ResponseError, match="permission"):
            client.get("another's")


def test_who_may_look_may_not_enqueue(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = app_of(yard, "viewer", monkeypatch)

    with pytest.raises(BrokerRefused):
        viewer.enqueue("tests.tests.apps.deadly.work", 0, queue="default")

    viewer.close()
