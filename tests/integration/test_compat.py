"""`taskq compat`: what waits is held against the code that is to be deployed, and nothing is run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from taskq.cli.exits import Exit
from taskq.message import Message, encode_message
from tests.commandline import Taskq
from tests.engine import Lab
from tests.hand import Hand, put

pytestmark = [pytest.mark.leaves_work, pytest.mark.contract]

APP = """
from dataclasses import dataclass
from taskq import TaskGroup, TaskQ

app = TaskQ("shop")
mail = TaskGroup("mail")
app.include(mail)

@dataclass
class Point:
    x: int

@app.task(name="shop.add")
def add(a: int, b: int = 0) -> int:
    raise SystemExit("a task was run")

@app.task(name="shop.move", queue="far")
async def move(to: Point) -> None:
    raise SystemExit("a task was run")

@mail.task
def send(to: str) -> None: ...
"""


@pytest.fixture(autouse=True)
def project(here: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "shop_compat.py").write_text(APP)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("TASKQ_APP", "shop_compat:app")
    yield
    sys.modules.pop("shop_compat", None)


def reasons(found: Any) -> dict[str, dict[str, int]]:
    return {f"{one['task']}: {one['reason']}": one["states"] for one in found["misfits"]}


def test_what_fits_in_every_state_is_told_so(lab: Lab, taskq: Taskq) -> None:
    assert taskq("compat", "--json").json["checked"] == 0
    hand = Hand(lab.broker, "default", tasks={"shop.add": "default"})
    put(lab.broker, "shop.add", 1)
    hand.fail(hand.take_one())
    put(lab.broker, "shop.gone", 1)
    hand.succeed(hand.take_one(), keep=True)  # what has ended does not run again
    put(lab.broker, "shop.add", 1, 2)
    hand.take_one()
    put(lab.broker, "shop.add", "3")
    put(lab.broker, "shop.move", {"x": 1}, queue="far", delay_ms=60_000)
    put(lab.broker, "mail.send", "a")
    before = lab.snapshot()

    said = taskq("compat", "--json")

    assert reasons(said.json) == {"shop.add: argument 'a': expected int, got str": {"queued": 1}}
    assert (said.code, said.json["checked"], said.json["unfit"]) == (Exit.NO, 5, 1)
    said = taskq("compat", "-Q", "far")
    assert (said.code, said.out) == (
        Exit.OK,
        "1 message checked against 'shop': all that are this app's fit\n",
    )
    assert lab.snapshot() == before


def test_what_does_not_fit_is_told_by_task_and_reason_with_some_ids(lab: Lab, taskq: Taskq) -> None:
    hand = Hand(lab.broker, "default", tasks={"shop.old": "default"})
    put(lab.broker, "shop.old", 1)
    hand.fail(hand.take_one())
    put(lab.broker, "shop.add")
    hand.take_one()
    parked = put(lab.broker, "mail.gone")
    hand.park(hand.take_one())
    made = [put(lab.broker, "shop.add", 1, 2, n) for n in range(5)]
    put(lab.broker, "shop.move", {"y": 1}, queue="far", delay_ms=60_000)

    said = taskq("compat", "shop_compat:app", "--json")

    assert said.code == Exit.NO
    assert reasons(said.json) == {
        "mail.gone: the app has no such task": {"parked": 1},
        "shop.old: the app has no such task": {"failed": 1},
        "shop.add: add(a, b): too many positional arguments": {"queued": 5},
        "shop.add: add(a, b): missing a required argument: 'a'": {"running": 1},
        "shop.move: argument 'to': object missing required field x": {"scheduled": 1},
    }
    [many] = [one for one in said.json["misfits"] if one["count"] == 5]
    assert many["ids"] == made[:3]
    shown = taskq("compat").out
    assert "mail.gone\n  the app has no such task: 1 parked\n    " + parked in shown
    assert f"{', '.join(made[:3])}, …\n" in shown
    assert shown.endswith("9 messages checked against 'shop': 9 of them do not fit\n")


def test_tasks_of_other_apps_are_counted_apart_unless_they_are_asked_for(lab: Lab, taskq: Taskq) -> None:
    put(lab.broker, "billing.pay", 1)
    put(lab.broker, "old-name", 1)

    said = taskq("compat", "--json")
    assert (said.code, said.json["others"]) == (Exit.OK, {"billing.pay": 1, "old-name": 1})
    assert "2 messages of tasks that are not this app's:\n  billing.pay: 1\n" in taskq("compat").out
    assert taskq("compat", "--strict", "--json").json["unfit"] == 2
    info = msgspec.msgpack.encode({"app": "shop"})
    Hand(lab.broker, "other", tasks={"old-name": "default"}, info=info)
    said = taskq("compat", "--json")
    assert (said.code, said.json["others"]) == (Exit.NO, {"billing.pay": 1})
    assert reasons(said.json) == {"old-name: the app has no such task": {"queued": 1}}


def test_what_cannot_be_read_is_told_and_hurts_nothing(lab: Lab, taskq: Taskq) -> None:
    queue = lab.keys.ready("default", 5)
    put(lab.broker, "shop.add", 1)
    bodies = {
        "noise": b"\xff\x00",
        "later": b"\x02\x00later",
        "codec": encode_message(Message("shop.add", args=b"\x09x")),
        "pickle": encode_message(Message("shop.add", args=b"\x02x")),
    }
    for task_id, body in bodies.items():
        lab.redis("SET", lab.keys.message(task_id), body)
        lab.redis("RPUSH", queue, task_id)
    lab.redis("RPUSH", queue, b"\x1b[31m|", "absent")
    lab.redis("HSET", lab.keys.queues, "broken", "on")
    lab.redis("SET", lab.keys.dead("broken"), "no zset")

    said = taskq("compat", "--json")

    assert (said.code, said.json["checked"]) == (Exit.NO, 7)
    assert reasons(said.json) == {
        "None: record or message cannot be read": {"queued": 3},
        "None: frame version 2, flags 0: this release reads version 1, flags 7 and fewer": {"queued": 1},
        "shop.add: the value's codec is 9, which is unknown": {"queued": 1},
        "shop.add: the value's codec is 2, cloudpickle, which is loaded only if it is signed": {"queued": 1},
    }
    assert "\x1b" not in taskq("compat").out
    lab.redis("DEL", lab.keys.dead("broken"))


def test_messages_are_opened_with_the_keys_that_a_worker_would_have(
    lab: Lab, taskq: Taskq, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(lab.broker, "shop.add", 1)
    monkeypatch.setenv("TASKQ_SIGNING_KEYS", "k1:" + 40 * "x")
    sys.modules.pop("shop_compat", None)
    taskq("enqueue", "shop.add", "--args", "[1]")

    said = taskq("compat", "--json").json
    assert (said["checked"], said["unfit"]) == (2, 1)
    assert "the message is not signed" in said["misfits"][0]["reason"]
    monkeypatch.setenv("TASKQ_SIGNING_KEYS", "k2:" + 40 * "y")
    monkeypatch.setenv("TASKQ_ACCEPT_UNSIGNED", "1")
    sys.modules.pop("shop_compat", None)
    said = taskq("compat", "--json").json
    assert (said["checked"], said["unfit"]) == (2, 1)
    assert said["misfits"][0]["reason"] == "it is signed with key 'k1', and the keys here are k2"


def test_a_look_that_has_to_stop_says_so_and_keeps_its_memory_small(lab: Lab, taskq: Taskq) -> None:
    body = encode_message(Message("shop.add", args=b"\x01\x91\x01"))
    names = [f"many-{n}" for n in range(3_000)]
    for start in range(0, len(names), 500):
        page = names[start : start + 500]
        lab.redis("MSET", *(word for one in page for word in (lab.keys.message(one), body)))
        lab.redis("RPUSH", lab.keys.ready("default", 5), *page)
    lab.redis("HSET", lab.keys.queues, "default", "on")

    said = taskq("compat", "--timeout", "1ms")
    assert said.code == Exit.NO
    assert said.out.endswith("partial: the time was over before all were looked at\n")
    said = taskq("compat", "--json")
    assert (said.code, said.json["checked"], said.json["partial"]) == (Exit.OK, 3_000, False)
    for n in range(1_200):
        lab.redis("SET", lab.keys.message(names[n]), encode_message(Message(f"shop.t{n}")))
    misfits = taskq("compat", "--json").json["misfits"]
    assert (len(misfits), sum(one["count"] for one in misfits)) == (1_001, 1_200)
    assert misfits[-1]["task"] == "…"
