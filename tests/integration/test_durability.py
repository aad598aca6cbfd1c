"""Durability: what `enqueue` waits for before it returns, and what it says where that does not come."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from taskq import TaskQ
from taskq.errors import BrokerRefused, ConfigurationError, DurabilityUnknown, EnqueueUnknown
from taskq.handle import TaskHandle
from tests.player import add
from tests.proxy import Fate, Proxy, nth
from tests.servers import RedisServer
from tests.support import wait_until

HELD_UP_S = 0.3
"""How long is looked on while a call must not return: an enqueue takes a millisecond."""

Enqueue = Callable[[TaskQ], list[TaskHandle[Any]]]


class Disk:
    """A server's disk, as far as a client can tell it from a slow one: with `stop` it confirms nothing any more."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server

    def stop(self) -> None:
        # Where WAITAOF is, nothing is synced now; where it is not, every second, which is no confirmation.
        self.server.call("CONFIG", "SET", "appendfsync", "no" if self.server.kind == "valkey" else "everysec")

    def go_on(self) -> None:
        self.server.call("CONFIG", "SET", "appendfsync", "always")


@pytest.fixture
def disk(redis_server: Callable[..., RedisServer]) -> Disk:
    return Disk(redis_server("--appendfsync", "always"))


@pytest.fixture
def app(disk: Disk, namespace: str) -> Iterator[TaskQ]:
    """An app that has met its server."""
    app = app_of(disk.server.url, namespace)
    app.enqueue("add", 0, 0, queue="elsewhere")
    yield app
    app.close()


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def app_of(url: str, namespace: str, durability: str = "fsync", **options: Any) -> TaskQ:
    app = TaskQ("shop", redis_url=url, namespace=namespace, durability=durability, **options)
    app.task(add, name="add")
    return app


def stored(app: TaskQ, server: RedisServer, queue: str = "default") -> list[str]:
    return [id.decode() for id in server.call("LRANGE", app.broker.keys[0].ready(queue, 5), 0, -1)]


def calls_of(server: RedisServer, command: str) -> int:
    stats = server.call("INFO", "commandstats")
    return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def by_enqueue(app: TaskQ) -> list[TaskHandle[Any]]:
    return [app.tasks["add"].enqueue(1, 2)]


def by_name(app: TaskQ) -> list[TaskHandle[Any]]:
    return [app.enqueue("somewhere.else", queue="default")]


def by_enqueue_many(app: TaskQ) -> list[TaskHandle[Any]]:
    return [one.get() for one in app.tasks["add"].enqueue_many([(1, 2), (3, 4)])]


def by_aenqueue(app: TaskQ) -> list[TaskHandle[Any]]:
    async def main() -> list[TaskHandle[Any]]:
        try:
            return [await app.tasks["add"].aenqueue(1, 2)]
        finally:
            await app.aclose()

    return asyncio.run(main())


def by_aenqueue_many(app: TaskQ) -> list[TaskHandle[Any]]:
    async def main() -> list[TaskHandle[Any]]:
        try:
            return [one.get() for one in await app.tasks["add"].aenqueue_many([(1, 2), (3, 4)])]
        finally:
            await app.aclose()

    return asyncio.run(main())


WAYS = [by_enqueue, by_name, by_enqueue_many, by_aenqueue, by_aenqueue_many]


@pytest.mark.parametrize("enqueue", WAYS)
def test_a_call_returns_once_the_disk_has_it(
    disk: Disk, app: TaskQ, thread: ThreadPoolExecutor, enqueue: Enqueue
) -> None:
    disk.stop()
    call = thread.submit(enqueue, app)
    ids = wait_until(lambda: stored(app, disk.server))
    assert_held_up(call)

    disk.go_on()
    handles = call.result(10)

    assert [handle.id for handle in handles] == ids == stored(app, disk.server)
    assert all(handle.created for handle in handles)


def assert_held_up(call: Future[Any]) -> None:
    with pytest.raises(TimeoutError):
        call.result(HELD_UP_S)


@pytest.mark.parametrize("enqueue", WAYS)
def test_what_the_disk_does_not_confirm_is_unknown_and_retry_settles_it(
    disk: Disk, namespace: str, enqueue: Enqueue
) -> None:
    app = app_of(disk.server.url, namespace, patience="200ms")
    app.enqueue("add", 0, 0, queue="elsewhere")
    disk.stop()

    with pytest.raises(DurabilityUnknown, match=r"is not known to be as safe as durability fsync") as told:
        enqueue(app)
    ids = stored(app, disk.server)
    assert isinstance(told.value, EnqueueUnknown)
    assert told.value.id == ids[0]

    with pytest.raises(DurabilityUnknown):  # it is found stored, and that is not enough
        settled(told.value)
    disk.go_on()
    handle = settled(told.value)

    assert (handle.id, handle.created) == (ids[0], True)
    assert stored(app, disk.server) == ids
    app.close()


def settled(error: EnqueueUnknown) -> TaskHandle[Any]:
    handle = error.retry()
    if asyncio.iscoroutine(handle):
        handle = asyncio.run(handle)
    assert isinstance(handle, TaskHandle)
    return handle


@pytest.mark.parametrize("lost", ["WAITAOF", "SET", "enqueue"])
def test_a_repeat_that_finds_its_message_stored_waits_for_it_all_the_same(
    redis_server: Callable[..., RedisServer],
    server_kind: str,
    namespace: str,
    thread: ThreadPoolExecutor,
    lost: str,
) -> None:
    disk = Disk(redis_server("--appendfsync", "always"))
    lost = "CONFIG" if (lost, server_kind) == ("WAITAOF", "redis") else lost
    with Proxy(disk.server.port) as proxy:
        app = app_of(proxy.url, namespace)
        app.enqueue("add", 0, 0, queue="elsewhere")
        disk.stop()
        proxy.judge = nth(lost, 1, Fate.LOSE_REPLY)

        call = thread.submit(by_enqueue, app)
        wait_until(lambda: proxy.lost[Fate.LOSE_REPLY], message="the reply to be lost")
        assert_held_up(call)

        disk.go_on()
        (handle,) = call.result(20)
        assert (handle.created, [handle.id]) == (True, stored(app, disk.server))
        app.close()


def test_what_a_server_lost_while_it_was_waited_for_is_stored_again(
    disk: Disk, app: TaskQ, thread: ThreadPoolExecutor
) -> None:
    server = disk.server
    disk.stop()
    call = thread.submit(by_enqueue, app)
    wait_until(lambda: stored(app, server))

    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    server.start()

    (handle,) = call.result(20)
    assert stored(app, server) == [handle.id]


@pytest.mark.parametrize("enqueue", [by_enqueue, by_aenqueue])
def test_what_is_written_and_the_wait_for_it_go_over_one_connection(
    disk: Disk, app: TaskQ, enqueue: Enqueue
) -> None:
    wanted = ["EVALSHA", "SET", "WAITAOF"]
    if disk.server.kind == "redis":
        wanted.pop()  # it is CONFIG there, which MONITOR does not tell
    with disk.server.client() as client, client.monitor() as monitor:
        enqueue(app)
        said: list[tuple[str, str]] = []
        while not said or said[-1][1] != wanted[-1]:
            told: Any = monitor.next_command()
            if told["client_type"] != "lua":
                said.append((told["client_port"], told["command"].split()[0]))

    assert [command for _, command in said[-len(wanted) :]] == wanted
    assert len({port for port, _ in said[-len(wanted) :]}) == 1, said


def test_a_relaxed_call_does_not_wait_for_others(disk: Disk, namespace: str) -> None:
    app = app_of(disk.server.url, namespace, "relaxed")
    task = app.tasks["add"]
    safe = task.using(durability="fsync")

    async def main() -> None:
        await safe.aenqueue(0, 0)
        disk.stop()
        waiting = [asyncio.create_task(safe.aenqueue(1, n)) for n in range(3)]
        await asyncio.wait_for(asyncio.gather(*(task.aenqueue(2, n) for n in range(3))), 5)
        done, _ = await asyncio.wait(waiting, timeout=HELD_UP_S)
        assert not done
        disk.go_on()
        assert all(handle.created for handle in await asyncio.gather(*waiting))
        await app.aclose()

    asyncio.run(main())


def test_calls_wait_together(disk: Disk, app: TaskQ) -> None:
    task, server = app.tasks["add"], disk.server
    waits = "waitaof" if server.kind == "valkey" else "config|get"
    before = calls_of(server, waits)

    assert all(one.created for one in task.enqueue_many([(1, n) for n in range(1_000)]))
    assert calls_of(server, waits) == before + 1

    async def main() -> None:
        await asyncio.gather(*(task.aenqueue(2, n) for n in range(1_000)))
        await app.aclose()

    asyncio.run(main())
    assert calls_of(server, waits) <= before + 4
    assert len(stored(app, server)) == 2_000


def test_a_batch_is_as_safe_as_its_safest_call(
    disk: Disk, namespace: str, thread: ThreadPoolExecutor
) -> None:
    app = app_of(disk.server.url, namespace, "relaxed")
    task = app.tasks["add"]
    task.using(durability="fsync").enqueue(0, 0)
    disk.stop()

    call = thread.submit(app.enqueue_many, [task.call(1, 1), task.using(durability="fsync").call(2, 2)])
    assert_held_up(call)
    disk.go_on()

    assert [one.get().id for one in call.result(10)] == stored(app, disk.server)[1:]
    app.close()


def test_after_an_unknown_batch_the_rest_is_not_sent(disk: Disk, namespace: str) -> None:
    app = app_of(disk.server.url, namespace, patience="200ms")
    task = app.tasks["add"]
    task.enqueue(0, 0)
    disk.stop()

    outcomes = task.enqueue_many([(1, n) for n in range(2_100)])

    assert {type(one.error).__name__ for one in outcomes[:2_048]} == {"DurabilityUnknown"}
    assert {str(one.error)[:36] for one in outcomes[2_048:]} == {"not sent, for the batch before is un"}
    assert len(stored(app, disk.server)) == 2_049
    disk.go_on()
    app.close()


# -- servers that cannot


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


# -- replicas


@pytest.fixture
def replicated(redis_server: Callable[..., RedisServer]) -> tuple[RedisServer, RedisServer]:
    """A master and its replica, in step."""
    master = redis_server("--repl-diskless-sync-delay", "0")
    replica = redis_server("--replicaof", "127.0.0.1", str(master.port))
    with master.client() as client:  # an answer to a write: a replica that is only online does not listen yet
        client.set("first", 1)
        wait_until(lambda: client.wait(1, 1_000), timeout=30, message="the replica to be in step")
    return master, replica


def test_a_call_returns_once_the_replicas_have_it(
    replicated: tuple[RedisServer, RedisServer], namespace: str, thread: ThreadPoolExecutor
) -> None:
    master, replica = replicated
    app = app_of(master.url, namespace, "replicated:1")
    first = app.tasks["add"].enqueue(1, 2)
    assert stored(app, replica) == [first.id]

    with replica.frozen():
        call = thread.submit(by_enqueue, app)
        wait_until(lambda: len(stored(app, master)) == 2)
        assert_held_up(call)
    (second,) = call.result(20)

    assert stored(app, replica) == [first.id, second.id]
    app.close()


def test_too_few_replicas_are_counted_in_the_error(
    replicated: tuple[RedisServer, RedisServer], namespace: str
) -> None:
    master, replica = replicated
    app = app_of(master.url, namespace, "replicated:2", patience="1s")

    with pytest.raises(DurabilityUnknown, match="it is stored, but 1 of 2 replicas have it") as told:
        app.tasks["add"].enqueue(1, 2)

    safer = app.tasks["add"].using(durability="replicated:1", id=told.value.id)
    with replica.frozen(), pytest.raises(DurabilityUnknown, match="0 of 1 replicas have it"):
        safer.enqueue(1, 2)  # which writes nothing, and the replica has the message
    assert not safer.enqueue(1, 2).created
    app.close()


def test_a_replica_that_is_made_the_master_meanwhile_is_not_taken_for_a_confirmation(
    replicated: tuple[RedisServer, RedisServer], namespace: str, thread: ThreadPoolExecutor
) -> None:
    master, replica = replicated
    app = app_of(master.url, namespace, "replicated:1")
    app.tasks["add"].enqueue(1, 2)
    with replica.frozen():
        call = thread.submit(by_enqueue, app)
        wait_until(lambda: len(stored(app, master)) == 2)
        master.call("REPLICAOF", "127.0.0.1", replica.port)
        assert_held_up(call)
        master.call("REPLICAOF", "NO", "ONE")
    started = time.monotonic()
    replica.call("REPLICAOF", "127.0.0.1", master.port)

    (handle,) = call.result(30)
    assert handle.id in stored(app, replica), time.monotonic() - started
    app.close()
