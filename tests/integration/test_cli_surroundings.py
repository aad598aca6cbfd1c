"""The command line and what it stands in: a terminal, a signal, a server with rights, an embedded server."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from taskq.broker import embedded
from taskq.broker.client import Broker
from taskq.broker.commands.reading import read
from taskq.cli.exits import Exit
from tests.commandline import MAIN, Taskq, environment, on_a_terminal
from tests.hand import put
from tests.servers import RedisServer
from tests.support import wait_until

pytestmark = [pytest.mark.leaves_work, pytest.mark.usefixtures("here")]


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", Exit.INTERRUPTED, 1), (b"y\n", Exit.OK, 0)])
def test_a_terminal_is_asked_before_what_cannot_be_undone(
    answer: bytes, code: Exit, left: int, broker: Broker, taskq: Taskq
) -> None:
    put(broker, queue="mail")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*MAIN, "purge", "mail"],
        env=environment(),
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.write(parent, answer)
    _, err = process.communicate(timeout=30)
    os.close(parent)
    os.close(child)

    assert b"Cancel all that is ready in queue 'mail'" in err
    assert process.returncode == code
    assert taskq("queues", "--json").json["queues"][0]["ready"] == left


def test_a_namespace_of_several_shards_is_found_out(
    server: RedisServer, namespace: str, taskq: Taskq
) -> None:
    broker = Broker(server.url, namespace, shards=3)
    made = {put(broker, id=f"task-{n}", queue="mail") for n in range(12)}
    broker.close()

    assert {one["id"] for one in taskq("tasks", "--json").json["tasks"]} == made
    assert taskq("queues", "--json").json["queues"][0]["ready"] == 12
    assert taskq("task", "task-7", "--json").json["state"] == "queued"
    assert taskq("purge", "mail", "--yes", "--json").json["cancelled"] == 12


@pytest.mark.contract
def test_a_namespace_of_another_release_is_refused(
    server: RedisServer, namespace: str, broker: Broker, taskq: Taskq
) -> None:
    with server.client() as client:
        client.hset(broker.keys[0].meta, mapping={"v": "9", "n": "1"})

    said = taskq("queues")

    assert (said.code, said.out) == (Exit.BROKER, "")
    assert "format" in said.err


def test_a_right_that_is_missing_is_named(
    redis_server: Callable[..., RedisServer], taskq: Taskq, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = redis_server(aof=False)
    own.call("ACL", "SETUSER", "reader", "on", ">pw", "~tq:*", "-@all", "+ping", "+hmget")
    monkeypatch.setenv("TASKQ_REDIS_URL", own.url.replace("redis://", "redis://reader:pw@"))

    said = taskq("queues")

    assert (said.code, said.out, len(said.err.splitlines())) == (Exit.BROKER, "", 1)
    assert "lacks a right" in said.err
    assert "pw@" not in said.err
    monkeypatch.setenv("TASKQ_REDIS_URL", own.url.replace("redis://", "redis://reader:wrong@"))
    assert taskq("queues").code == Exit.BROKER


def test_a_running_embedded_server_is_used_and_named(
    taskq: Taskq, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, namespace: str
) -> None:
    monkeypatch.delenv("TASKQ_REDIS_URL")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert taskq("queues").code == Exit.BROKER
    embedded.ensure(namespace, linger=5)
    try:
        said = taskq("queues")
        assert (said.code, said.out) == (Exit.OK, "There are no queues in this namespace yet.\n")
        assert f"using the embedded server of namespace {namespace!r}" in said.err
    finally:
        embedded.stop(namespace)


def test_dev_starts_no_server_for_an_app_that_is_not_there(tmp_path: Path) -> None:
    environ = environment(XDG_STATE_HOME=str(tmp_path), HOME=str(tmp_path))
    command = [*MAIN, "dev", "nowhere_at_all:app", "--no-reload"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=50, check=False
    )

    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith("taskq: there is no module 'nowhere_at_all'")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_what_a_terminal_shows_has_colour_unless_it_is_unwanted(broker: Broker) -> None:
    put(broker, queue="mail")

    assert "\x1b[3" in on_a_terminal("doctor")
    assert "\x1b[3" not in on_a_terminal("doctor", NO_COLOR="1")


def test_a_terminal_shows_text_in_brackets_as_it_is(broker: Broker) -> None:
    task_id = put(broker, "[red]x[/red]:smile:")

    out = on_a_terminal("tasks")

    assert task_id in out
    assert "[red]x[/red]:smile:" in out


def test_an_interrupted_wait_is_one_line(broker: Broker) -> None:
    task_id = put(broker)
    process = subprocess.Popen(
        [*MAIN, "result", task_id, "--wait"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    waits = broker.keys[0].prefix + "waits"
    wait_until(lambda: broker.call(read(broker.keys[0], "HEXISTS", waits, task_id)), message="the wait")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out, err.strip()) == (Exit.INTERRUPTED, b"", b"taskq: interrupted")


def test_a_command_runs_with_all_standard_streams_closed() -> None:
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *MAIN]

    assert subprocess.run([*closed, "version"], env=environment(), check=False).returncode == 0
    assert subprocess.run([*closed, "nonsense"], env=environment(), check=False).returncode == 2
