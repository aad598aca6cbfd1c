"""Servers that cannot give a durability: whoever asks is told what to do, and nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from taskq import TaskQ
from taskq.broker import durable
from taskq.broker.commands.reading import read
from taskq.broker.durable import waitaof_is_true
from taskq.cli.exits import Exit
from taskq.errors import BrokerRefused, ConfigurationError, DurabilityUnknown
from tests.commandline import Taskq, settle_in
from tests.servers import RedisServer
from tests.slow_disk import Disk, app_of, calls_of, stored


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


@pytest.mark.parametrize(
    "setting",
    [
        ("--appendfsync", "no"),
        ("--appendfsync", "everysec"),
        ("--appendfsync", "always", "--no-appendfsync-on-rewrite", "yes"),
    ],
)
def test_where_waitaof_is_not_true_every_answer_has_to_come_after_an_fsync(
    redis_server: Callable[..., RedisServer], namespace: str, setting: tuple[str, ...]
) -> None:
    server = redis_server(*setting)
    says = "appendfsync.* is (no|everysec|yes). Set appendonly yes, appendfsync always"
    assert_refused(app_of(server.url, namespace), server, ConfigurationError, says)


def test_an_fsync_before_each_answer_is_enough_for_any_server(
    redis_server: Callable[..., RedisServer], namespace: str
) -> None:
    server = redis_server("--appendfsync", "always")
    app = app_of(server.url, namespace)
    assert app.tasks["add"].enqueue(1, 2).created
    assert calls_of(server, "waitaof") == 0
    app.close()


def test_waitaof_that_waits_for_ever_is_told_before_anything_is_stored(disk: Disk, namespace: str) -> None:
    disk.stop()
    says = "appendfsync is (no. Set it to everysec or always|everysec. Set appendonly yes)"
    assert_refused(app_of(disk.server.url, namespace), disk.server, ConfigurationError, says)


def test_waitaof_is_believed_from_redis_8_on() -> None:
    assert waitaof_is_true("# Server\r\nredis_version:8.0.0\r\nredis_git_sha1:0\r\n")
    assert waitaof_is_true("# Server\r\nredis_version:10.2.1\r\n")
    for other in (
        "redis_version:7.4.2",
        "redis_version:8.0.0\r\nserver_name:valkey\r\nvalkey_version:9.1.2",
        "",
    ):
        assert not waitaof_is_true(f"# Server\r\n{other}\r\n")


def test_the_embedded_server_is_set_to_what_is_asked(place: Path) -> None:
    app = app_of(f"embedded://{place}", "shop")
    assert app.tasks["add"].enqueue(1, 2).created
    assert app.broker.call(read(app.broker.keys[0], "CONFIG", "GET", "appendfsync"))[1] == b"always"
    app.close()


def web_user(server: RedisServer, *denied: str) -> str:
    """Give the URL of a user who has all rights but these."""
    server.call("ACL", "SETUSER", "web", "on", ">pw", "~*", "+@all", *denied)
    return server.url.replace("://", "://web:pw@")


def test_a_user_who_may_not_see_the_settings_is_told_so(
    redis_server: Callable[..., RedisServer], namespace: str
) -> None:
    server = redis_server("--appendfsync", "always")
    app = app_of(web_user(server, "-config"), namespace)
    assert_refused(
        app, server, ConfigurationError, r"does not tell its settings.* give this user \+config\|get"
    )


def test_a_user_who_may_not_wait_is_told_so(redis_server: Callable[..., RedisServer], namespace: str) -> None:
    server = redis_server()
    app = app_of(web_user(server, "-wait"), namespace, "replicated:1")
    assert_refused(app, server, BrokerRefused, r"give it \+wait")


def test_with_waitaof_its_right_is_needed_and_no_other(
    tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "waitaof_is_true", lambda _: True)
    server = RedisServer("valkey", tmp_path)
    server.start()
    try:
        url = web_user(server, "-config", "-waitaof")
        assert_refused(app_of(url, namespace), server, BrokerRefused, r"give it \+waitaof")
        web_user(server, "+waitaof")
        app = app_of(url, namespace)
        assert app.tasks["add"].enqueue(1, 2).created
        app.close()
    finally:
        server.stop()


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
    by = "WAITAOF" if disk.server.kind == "valkey" else "appendfsync always"

    def found(*asked: str) -> tuple[int, str, str]:
        said = taskq("doctor", "--json", *asked)
        (one,) = (one for one in said.json["findings"] if one["check"] == "durability")
        return said.code, one["status"], one["says"]

    assert found() == (Exit.OK, "ok", "relaxed: what is enqueued waits for neither the disk nor replicas")
    code, status, says = found("--durability", "fsync")
    assert (code, status) == (Exit.OK, "ok")
    assert says.startswith(f"fsync, by {by}")
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
