"""A signed message that somebody kept and stores again: what is refused, and what cannot be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq import TaskHandle, TaskQ
from taskq.config import AppConfig
from taskq.errors import ConfigurationError, MessageTooOld
from taskq.frame import FrameCodec
from taskq.message import Message, decode_message, open_message, seal_message
from taskq.names import new_task_id
from taskq.signing import KeyRing
from tests.commandline import Taskq, settle_in
from tests.unit.wire import WiredApp
from tests.workers import Yard

RING = f"k1:{'k' * 40}"
TICK = "tests.tests.apps.quick.tick"
NOW_MS = 1_764_000_000_000


def frames(max_age_ms: int | None, **options: Any) -> FrameCodec:
    return FrameCodec(
        "shop", keys=KeyRing.parse(RING, "test"), max_age_ms=max_age_ms, now_ms=lambda: NOW_MS, **options
    )


@pytest.mark.parametrize(
    ("message", "is_refused"),
    [
        (Message(TICK, created_ms=NOW_MS - 60_000), False),
        (Message(TICK, created_ms=NOW_MS - 60_001), True),
        (Message(TICK), True),
        (Message(TICK, created_ms=NOW_MS + 60_000), False),
        (Message(TICK, created_ms=1, due_ms=NOW_MS - 1), False),
        (Message(TICK, created_ms=1, due_ms=NOW_MS - 60_001), True),
    ],
)
def test_the_age_counts_from_the_call_or_from_when_it_is_due(message: Message, is_refused: bool) -> None:
    data = seal_message(message, "a", frames(None))

    if is_refused:
        with pytest.raises(MessageTooOld, match="max_age allows 60: it was sent again, or has waited"):
            open_message(data, "a", "default", frames(60_000))
    else:
        open_message(data, "a", "default", frames(60_000))
    open_message(data, "a", "default", frames(None))


def test_the_date_is_signed_and_one_that_is_not_does_not_count() -> None:
    data = seal_message(Message(TICK, created_ms=NOW_MS), "a", FrameCodec("shop"))

    assert open_message(data, "a", "default", frames(1, accept_unsigned=True))[1] is False


def test_a_message_says_when_it_is_due() -> None:
    app = WiredApp(signing_keys=RING)
    sender = app.named("send", "default")
    for delay in (None, 60, 0):
        sender.using(delay=delay).enqueue()
    plain, later, at_once = (sent.message for sent in app.wire.sent)

    assert (plain.due_ms, later.due_ms - later.created_ms, at_once.due_ms) == (0, 60_000, 0)


def test_what_has_ended_is_remembered_as_long() -> None:
    config = AppConfig(max_age_ms=3_600_000)

    assert (config.record_ttl_ms(0), AppConfig().record_ttl_ms(0)) == (3_600_000, 120_000)
    with pytest.raises(ConfigurationError, match="dead_ttl is below dedupe_ttl or max_age"):
        AppConfig(max_age_ms=3_600_000, dead_ttl_ms=3_599_999)


def test_without_keys_it_would_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="max_age takes signing keys"):
        TaskQ("shop", max_age="1d")
    monkeypatch.setenv("TASKQ_MAX_AGE", "1h")
    assert TaskQ("shop", signing_keys=RING).config.max_age_ms == 3_600_000


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    monkeypatch.setenv("TASKQ_SIGNING_KEYS", RING)
    monkeypatch.setenv("TASKQ_MAX_AGE", "10m")
    with Yard(tmp_path) as yard:
        yield yard


def put(yard: Yard, id: str, data: bytes) -> TaskHandle[Any]:
    """Store a message as somebody does who can write to the server."""
    keys = yard.app.broker.keys[0]
    yard.server.call("SET", keys.message(id), data)
    yard.server.call("RPUSH", keys.ready("default", 5), id)
    yard.server.call("RPUSH", keys.wake("default"), "1")
    return yard.app.handle(id)


def passed(yard: Yard) -> None:
    """Have the worker do something else, so that what stood before it was looked at."""
    assert yard.wait_ended(yard.send_many("quick.tick", [()] * 3)) == {"succeeded": 3}


def test_a_message_that_was_kept_runs_only_for_who_removes_what_is_known_and_not_for_long(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = yard.app.broker.keys[0]
    handle = yard.send("quick.tick", result_ttl=0)
    kept: bytes = yard.server.call("GET", keys.message(handle.id))
    worker = yard.worker("quick")
    assert yard.wait_ended([handle]) == {"succeeded": 1}

    # What is known of it stays as long as the message could run.
    assert yard.server.call("PTTL", keys.record(handle.id)) > 9.5 * 60_000
    put(yard, handle.id, kept)
    passed(yard)
    assert yard.ledger.counts()[handle.id] == 1

    # Nothing at the server stops who removes that, too.
    yard.server.call("DEL", keys.record(handle.id))
    put(yard, handle.id, kept)
    yard.ledger.wait("end", handle.id, 2)

    # A message that was kept for long runs for nobody.
    now_ms = time.time_ns() // 1_000_000
    old = Message(TICK, created_ms=now_ms - 601_000)
    id = new_task_id()
    late = put(yard, id, seal_message(old, id, yard.app.frames))
    delayed = Message(TICK, created_ms=now_ms - 9_000_000, due_ms=now_ms - 1_000)
    due_id = new_task_id()
    due = put(yard, due_id, seal_message(delayed, due_id, yard.app.frames))
    assert (yard.wait_ended([late]), yard.wait_ended([due])) == ({"failed": 1}, {"succeeded": 1})
    error = late.info().error
    assert error is not None
    assert error.type == "taskq.errors.MessageTooOld"
    assert worker.says(f"task {id} is not run and is quarantined: the message is 60")
    assert yard.ledger.counts()[id] == 0

    # Nor does an operator have it signed anew by accident; who knows it to be good can.
    settle_in(monkeypatch, tmp_path, yard.server.url, yard.namespace)
    monkeypatch.setenv("TASKQ_SIGNING_KEYS", RING)
    taskq = Taskq(capsys)
    monkeypatch.setenv("TASKQ_MAX_AGE", "10m")
    assert "and max_age allows 600" in taskq("dead", "requeue", id).err
    monkeypatch.setenv("TASKQ_MAX_AGE", "1h")
    [again] = taskq("dead", "requeue", id, "--json").json["requeued"]
    assert yard.wait_ended([yard.app.handle(again["id"])]) == {"succeeded": 1}
    assert worker.stop() == 0


def test_a_retry_that_comes_too_late_is_not_run_either(yard: Yard) -> None:
    keys = yard.app.broker.keys[0]
    handle = yard.send("quick.tick", delay="1h")
    message = decode_message(yard.server.call("GET", keys.message(handle.id)))
    message.created_ms, message.due_ms = message.created_ms - 601_000, 0
    put(yard, handle.id, seal_message(message, handle.id, yard.app.frames))
    yard.server.call("SET", keys.record(handle.id), "q|5|p|default:5|1|0|")
    worker = yard.worker("quick")

    assert yard.wait_ended([handle]) == {"failed": 1}
    assert yard.ledger.counts()[handle.id] == 0
    assert worker.stop() == 0
