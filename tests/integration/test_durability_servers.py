"""Servers that cannot give a durability: whoever asks is told what to do, and nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from taskq import TaskQ
from taskq.cli.exits import Exit
from taskq.errors import BrokerRefused, ConfigurationError, DurabilityUnknown
from tests.commandline import Taskq, settle_in
from tests.servers import RedisServer
from tests.slow_disk import Disk, app_of, stored


def assert_refused(app: TaskQ, server: RedisServer, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        app.tasks["add"].enqueue(1, 2)
    (outcome,) = app.tasks["add"].enqueue_many([(1, 2)])
    assert isinstance(outcome.error, kind)
    assert stored(app, server) == []
    app.close()


def test_a_server_without_a_file_is_refused(redis_server: Callable[..., RedisServer], namespace: str) -> None:
    server = redis_server(aof=False)
    assert_refused(
        app_of(server.url, namespace), server, ConfigurationError, "set appendonly yes|Set appendonly"
    )


def test_a_server_that_syncs_too_late_is_refused(
    redis_server: Callable[..., RedisServer], namespace: str
) -> None:
    server = redis_server("--appendfsync", "no")
    says = "appendfsync is no. Set (it to everysec or always|appendonly yes, appendfsync always)"
    assert_refused(app_of(server.url, namespace), server, ConfigurationError, says)


@pytest.mark.parametrize(
    "setting",
    [("--appendfsync", "everysec"), ("--appendfsync", "always", "--no-appendfsync-on-rewrite", "yes")],
)
def test_where_there_is_no_waitaof_every_reply_has_to_come_after_an_fsync(
    tmp_path: Path, namespace: str, setting: tuple[str, ...]
) -> None:
    server = RedisServer("redis", tmp_path, *setting)
    server.start()
    says = "no WAITAOF, and .*appendfsync.* is (everysec|yes). Set appendonly yes"
    try:
        assert_refused(app_of(server.url, namespace), server, ConfigurationError, says)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("durability", "right"), [("fsync", "waitaof|config\\|get"), ("replicated:1", "wait")]
)
def test_a_user_without_the_right_is_told_which(
    redis_server: Callable[..., RedisServer], server_kind: str, namespace: str, durability: str, right: str
) -> None:
    server = redis_server("--appendfsync", "always")
    denied = "-wait" + (" -waitaof" if server_kind == "valkey" else "")
    server.call("ACL", "SETUSER", "web", "on", ">pw", "~*", "+@all", "-config", *denied.split())
    app = app_of(server.url.replace("://", "://web:pw@"), namespace, durability)
    by_settings = (server_kind, durability) == ("redis", "fsync")
    kind: type[Exception] = ConfigurationError if by_settings else BrokerRefused
    assert_refused(app, server, kind, rf"give (it|this user) \+({right})")


def test_settings_that_a_user_may_not_read_are_not_needed_with_waitaof(
    redis_server: Callable[..., RedisServer], server_kind: str, namespace: str
) -> None:
    server = redis_server("--appendfsync", "always")
    server.call("ACL", "SETUSER", "web", "on", ">pw", "~*", "+@all", "-config")
    app = app_of(server.url.replace("://", "://web:pw@"), namespace)
    if server_kind == "valkey":
        assert app.tasks["add"].enqueue(1, 2).created
    else:
        with pytest.raises(ConfigurationError, match="does not tell its settings"):
            app.tasks["add"].enqueue(1, 2)
    app.close()


def test_a_server_that_can_no_longer_is_noticed_and_asked_anew(disk: Disk, namespace: str) -> None:
    app = app_of(disk.server.url, namespace, patience="200ms")
    task = app.tasks["add"]
    task.using(queue="elsewhere").enqueue(0, 0)
    disk.server.call("CONFIG", "SET", "appendonly", "no")

    with pytest.raises(DurabilityUnknown, match=r"WAITAOF is refused|appendonly is no"):
        task.enqueue(1, 2)
    assert len(stored(app, disk.server)) == 1
    with pytest.raises(ConfigurationError):
        task.enqueue(3, 4)

    assert len(stored(app, disk.server)) == 1


def test_what_memory_holds_is_not_waited_for(namespace: str) -> None:
    app = app_of("memory://durability", namespace, "replicated:2")
    assert app.tasks["add"].enqueue(1, 2).created
    app.close()


def test_the_doctor_says_whether_a_server_can(
    disk: Disk, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, taskq: Taskq
) -> None:
    settle_in(monkeypatch, tmp_path, disk.server.url, namespace)
    by = "WAITAOF" if disk.server.kind == "valkey" else "CONFIG"

    def found(*asked: str) -> tuple[int, str, str]:
        said = taskq("doctor", "--json", *asked)
        (one,) = (one for one in said.json["findings"] if one["check"] == "durability")
        return said.code, one["status"], one["says"]

    assert found() == (Exit.OK, "ok", "relaxed: what is enqueued waits for neither the disk nor replicas")
    assert found("--durability", "fsync") == (Exit.OK, "ok", f"fsync, by {by}")
    monkeypatch.setenv("TASKQ_DURABILITY", "replicated:2")
    code, status, says = found()
    assert (code, status) == (Exit.NO, "problem")
    assert says.startswith("replicated:2 is asked for, and 0 replicas online")

    disk.server.call("CONFIG", "SET", "appendfsync", "everysec")
    code, status, says = found("--durability", "fsync")
    if disk.server.kind == "valkey":
        assert (code, status, "waits up to a second" in says) == (Exit.OK, "ok", True)
    else:
        assert (code, status, "appendfsync is everysec" in says) == (Exit.NO, "problem", True)
    assert taskq("doctor", "--durability", "sure").code == Exit.USAGE
