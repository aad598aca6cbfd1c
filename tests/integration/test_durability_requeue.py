"""Dead letters that are requeued are as safe as what is enqueued."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskq import TaskQ
from taskq.cli.exits import Exit
from taskq.durability import Needs
from taskq.errors import DurabilityUnknown
from taskq.inspector import dead
from taskq.inspector.listing import Filter
from tests.commandline import Taskq, settle_in
from tests.hand import Hand
from tests.sight import KEEP_MS
from tests.slow_disk import Disk, app_of, assert_held_up, calls_of, stored
from tests.support import wait_until


def fail(app: TaskQ, number: int) -> list[str]:
    """Have as many tasks fail for good; gives their ids."""
    task = app.tasks["add"].using(durability="relaxed")
    made = [one.get().id for one in task.enqueue_many([(1, n) for n in range(number)])]
    hand = Hand(app.broker, "default")
    for claimed in hand.take(number):
        hand.fail(claimed)
    return made


def test_dead_letters_are_requeued_once_the_disk_has_them(
    disk: Disk, namespace: str, thread: ThreadPoolExecutor
) -> None:
    app = app_of(disk.server.url, namespace)
    app.enqueue("add", 0, 0, queue="elsewhere")
    server, keys = disk.server, app.broker.keys
    old = fail(app, 300)
    safely = app.broker.safely(Needs(fsync=True))
    waits = "waitaof" if server.kind == "valkey" else "config|get"
    before = calls_of(server, waits)
    disk.stop()

    steps = dead.requeue_all(keys, Filter(), KEEP_MS, safely=safely)
    call = thread.submit(app.broker.run, steps)
    wait_until(lambda: len(stored(app, server)) == 256)
    assert_held_up(call)
    disk.go_on()
    done, refused = call.result(10)

    assert (sorted(one.origin for one in done), refused) == (sorted(old), {})
    assert [one.id for one in done] == stored(app, server)
    assert calls_of(server, waits) < before + 100  # two for 300, and as many as it was held up for
    app.close()


def test_a_requeue_that_the_disk_does_not_confirm_is_unknown_and_retry_settles_it(
    disk: Disk, namespace: str
) -> None:
    app = app_of(disk.server.url, namespace, patience="200ms")
    app.enqueue("add", 0, 0, queue="elsewhere")
    (old,) = fail(app, 1)
    safely = app.broker.safely(Needs(fsync=True))
    disk.stop()

    with pytest.raises(DurabilityUnknown, match=f"which dead letter {old} is requeued as") as told:
        app.broker.run(dead.requeue(app.broker.keys[0], "default", old, KEEP_MS, safely=safely))
    disk.go_on()
    (done,) = told.value.retry()

    assert (done.origin, [done.id]) == (old, stored(app, disk.server))
    assert told.value.id == done.id
    app.close()


def test_dead_letters_of_the_command_line_are_as_safe_as_the_environment_says(
    disk: Disk, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, taskq: Taskq
) -> None:
    monkeypatch.setattr("taskq.cli.server_options._PATIENCE_S", 0.2)
    app = app_of(disk.server.url, namespace)
    fail(app, 2)
    settle_in(monkeypatch, tmp_path, disk.server.url, namespace)
    monkeypatch.setenv("TASKQ_DURABILITY", "fsync")
    disk.server.call("CONFIG", "SET", "appendonly", "no")

    refused = taskq("dead", "requeue", "--all")
    assert (refused.code, stored(app, disk.server)) == (Exit.USAGE, [])
    assert "appendonly yes" in refused.err

    monkeypatch.setenv("TASKQ_DURABILITY", "relaxed")
    assert taskq("dead", "requeue", "--all").code == Exit.OK
    assert len(stored(app, disk.server)) == 2
    app.close()
