from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from taskq.broker.client import Broker
from taskq.broker.commands import operating
from taskq.cli.exits import Exit
from tests.commandline import Taskq
from tests.hand import Hand, put
from tests.leaks import forget
from tests.servers import RedisServer
from tests.support import wait_until

pytestmark = [pytest.mark.leaves_work, pytest.mark.usefixtures("here")]

ROOT = Path(__file__).parents[2]
# Programs read these: a name here may be added, never changed.
QUEUE_FIELDS = [
    *("name", "paused", "ready", "by_priority", "running", "scheduled", "parked", "dead", "oldest_ms"),
    *("processes", "max_length"),
]
TASK_FIELDS = [
    *("id", "state", "task", "queue", "priority", "attempt", "tags", "created_ms", "due_ms", "process"),
    *("ended_ms", "took_ms", "error", "signature"),
]
APP = """
from taskq import TaskQ

app = TaskQ("shop")

@app.task(queue="mail")
def send(to: str, times: int = 1) -> str:
    return to * times
"""


@pytest.mark.contract
def test_queues_are_listed_for_people_and_for_programs(broker: Broker, taskq: Taskq) -> None:
    assert taskq("queues").out == "There are no queues in this namespace yet.\n"
    put(broker, queue="mail", priority=9)
    put(broker, queue="mail")

    said = taskq("queues")
    assert re.search(r"^mail +on +2 +9:1 5:1 +0 +0 +0 +0 ", said.out, re.MULTILINE)
    [mail] = taskq("queues", "--json").json["queues"]
    assert list(mail) == QUEUE_FIELDS
    assert (mail["name"], mail["ready"], mail["by_priority"]) == ("mail", 2, {"9": 1, "5": 1})


@pytest.mark.contract
def test_a_queue_is_bounded_by_command(broker: Broker, taskq: Taskq) -> None:
    def counts() -> Any:
        [mail] = taskq("queues", "--json").json["queues"]
        return mail["max_length"]

    said = taskq("max-length", "mail", "1")
    assert said.out == "queue 'mail' accepts no new task while 1 task is ready\n"
    put(broker, queue="mail")
    assert re.search(r"^mail +on +1 .* 1$", taskq("queues").out, re.MULTILINE)
    assert counts() == 1
    said = taskq("enqueue", "shop.send", "--queue", "mail")
    assert said.code == Exit.BROKER
    assert "queue 'mail' is full (ready: 1, max_length: 1)" in said.err

    assert taskq("max-length", "mail", "20000", "--json").json == {"queue": "mail", "max_length": 20_000}
    assert taskq("enqueue", "shop.send", "--queue", "mail").code == Exit.OK
    broker.call(operating.bound(broker.keys[0], "mail", "declared", 300))
    assert counts() == 20_000
    assert taskq("max-length", "mail", "none", "--json").json == {"queue": "mail", "max_length": None}
    assert counts() is None
    assert taskq("max-length", "mail", "code").out == (
        "queue 'mail' accepts no new task while 300 tasks are ready\n"
    )
    broker.call(operating.bound(broker.keys[0], "mail", "declared", None))
    assert taskq("max-length", "mail", "code").out == "queue 'mail' has no max_length\n"


@pytest.mark.parametrize("number", ["0", "-1", "many", "", "1.5", "2147483648", "9" * 5_000])
def test_a_bound_that_cannot_be_is_refused(taskq: Taskq, number: str) -> None:
    said = taskq("max-length", "mail", "--", number)
    assert said.code == Exit.USAGE
    assert "give a whole number from 1, `none`, or `code`" in said.err


@pytest.mark.contract
def test_tasks_are_listed_for_people_and_for_programs(broker: Broker, taskq: Taskq) -> None:
    assert taskq("tasks").out == "There are no such tasks.\n"
    task_id = put(broker, "shop.send", queue="mail", tags=["vip"])
    later = put(broker, "shop.send", delay_ms=60_000)

    said = taskq("tasks")
    assert re.search(rf"^{task_id} +queued +shop.send +mail:5 +1 +since ", said.out, re.MULTILINE)
    assert re.search(rf"^{later} +scheduled +shop.send +default:5 +1 +due ", said.out, re.MULTILINE)
    listing = taskq("tasks", "--json", "--state", "queued", "--tag", "vip").json
    assert [one["id"] for one in listing["tasks"]] == [task_id]
    assert (listing["partial"], listing["more"]) == (False, False)
    assert list(listing["tasks"][0]) == TASK_FIELDS
    put(broker)
    assert "there are more: --limit lists more of each state" in taskq("tasks", "--limit", "1").out


def test_a_listing_among_many_says_that_it_is_partial(
    server: RedisServer, broker: Broker, taskq: Taskq
) -> None:
    first = put(broker, "shop.many")
    keys = broker.keys[0]
    with server.client() as client:
        body: Any = client.get(keys.message(first))
        for start in range(0, 100_000, 10_000):
            made = [f"many-{n}" for n in range(start, start + 10_000)]
            client.mset({keys.message(one): body for one in made})
            client.rpush(keys.ready("default", 5), *made)

    said = taskq("tasks", "--state", "queued", "--task", "shop.absent")

    assert re.fullmatch(r"partial: [\d,]+ tasks were looked at, and there are more; .*\n", said.out)
    assert said.code == Exit.OK


@pytest.mark.contract
def test_hostile_text_reaches_no_terminal(server: RedisServer, broker: Broker, taskq: Taskq) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202e\n"
    task_id = put(broker, "shop.\x1b[31m", evil, queue="mail", tags=[evil], headers={evil: evil})
    put(broker, "shop.fails", queue="bad")
    hand = Hand(broker, "bad", tasks={"shop.\x1b[31m": evil}, info=b"\x81\xa4host\xa3\x1b[m")
    hand.fail(hand.take_one(), evil)
    dead = taskq("dead", "list", "--json").json["tasks"][0]["id"]
    with server.client() as client:
        client.rpush(broker.keys[0].ready("mail", 5), b"\xff\x1b[31m")
        client.set(broker.keys[0].message("odd"), b"\x01\x00\xc1")

    for command in (
        ("queues",), ("tasks",), ("task", task_id), ("task", dead), ("task", "odd"), ("dead", "list"),
        ("dead", "show", dead), ("workers",), ("registered",), ("result", dead), ("result", evil),
        ("doctor",), ("enqueue", evil), ("pause", evil), ("max-length", evil, evil), ("task", "\udcff"),
    ):  # fmt: skip
        for flag in ((), ("--json",)):
            said = taskq(*command, *flag)
            printed = (said.out + said.err).replace("\n", "")
            assert printed.isprintable(), command
            assert said.code in (Exit.OK, Exit.NO, Exit.USAGE), command
    assert taskq("task", task_id, "--json").json["args"] == [evil]
    with server.client() as client:
        forget(client, broker.namespace.name)


@pytest.mark.contract
def test_one_task_is_shown_with_its_arguments_and_its_error(broker: Broker, taskq: Taskq) -> None:
    hand = Hand(broker, "mail")
    task_id = put(broker, "shop.send", "a@b.c", 3, queue="mail")
    assert 'args     ["a@b.c", 3]' in taskq("task", task_id).out

    hand.fail(hand.take_one(), "no such box")
    said = taskq("task", task_id)
    assert re.search(r"^state +failed$", said.out, re.MULTILINE)
    assert "ValueError: no such box" in said.out
    assert "Traceback (most recent call last):" in said.out
    assert taskq("task", task_id, "--json").json["error"]["message"] == "no such box"
    unknown = taskq("task", "nobody")
    assert (unknown.code, unknown.out) == (Exit.NO, "")
    assert (
        unknown.err
        == "taskq: nothing is known of task nobody: it never existed, or its record's time is over\n"
    )


@pytest.mark.contract
def test_a_task_is_enqueued_by_the_name_that_workers_registered(broker: Broker, taskq: Taskq) -> None:
    unknown = taskq("enqueue", "shop.sent")
    assert unknown.code == Exit.USAGE
    assert "no worker has registered a task 'shop.sent'" in unknown.err

    hand = Hand(broker, "mail", tasks={"shop.send": "mail"})
    assert "do you mean 'shop.send'?" in taskq("enqueue", "shop.sent").err
    said = taskq("enqueue", "shop.send", "--args", '["a", 1]', "--kwargs", '{"x": null}', "--priority", "7")
    shown = taskq("task", said.out.strip(), "--json").json
    assert (shown["queue"], shown["priority"]) == ("mail", 7)
    assert (shown["args"], shown["kwargs"]) == (["a", 1], {"x": None})
    later = taskq("enqueue", "shop.send", "--delay", "10m", "--id", "mine", "--json").json
    assert later == {"id": "mine", "created": True}
    assert taskq("task", "mine", "--json").json["state"] == "scheduled"
    again = taskq("enqueue", "shop.send", "--id", "mine")
    assert (again.out, again.code) == ("mine\n", Exit.OK)
    assert "nothing was enqueued" in again.err
    forced = taskq("enqueue", "shop.other", "--queue", "more")
    assert taskq("task", forced.out.strip(), "--json").json["queue"] == "more"
    hand.leave()


@pytest.mark.contract
def test_an_app_checks_what_is_enqueued(
    tmp_path: Path, taskq: Taskq, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop_cli.py").write_text(APP)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "shop_cli", raising=False)
    monkeypatch.setenv("TASKQ_APP", "shop_cli:app")

    said = taskq("enqueue", "shop.shop_cli.send", "--args", '["a"]', "--json")
    assert said.json["created"]
    assert taskq("task", said.json["id"], "--json").json["queue"] == "mail"
    wrong = taskq("enqueue", "shop.shop_cli.send", "--kwargs", '{"to": "a", "nope": 1}')
    assert (wrong.code, len(wrong.err.splitlines())) == (Exit.USAGE, 1)
    assert "nope" in wrong.err
    mistyped = taskq("enqueue", "shop.shop_cli.send", "--args", "[5]")
    assert (mistyped.code, mistyped.err) == (Exit.USAGE, "taskq: argument 'to': expected str, got int\n")
    unknown = taskq("enqueue", "shop.shop_cli.sent")
    assert "do you mean 'shop.shop_cli.send'?" in unknown.err


@pytest.mark.contract
def test_enqueue_waits_for_the_result(broker: Broker, taskq: Taskq) -> None:
    hand = Hand(broker, "mail", tasks={"shop.send": "mail"})

    def work() -> None:
        hand.succeed(wait_until(lambda: hand.take(1))[0], {"sent": 1})
        hand.fail(wait_until(lambda: hand.take(1))[0], "boom")

    worker = threading.Thread(target=work)
    worker.start()
    good = taskq("enqueue", "shop.send", "--wait", "--timeout", "20")
    assert (good.out, good.code) == ('{"sent": 1}\n', Exit.OK)
    bad = taskq("enqueue", "shop.send", "--wait", "--timeout", "20", "--json")
    worker.join()
    assert (bad.json["state"], bad.json["error"], bad.code) == ("failed", "ValueError: boom", Exit.NO)
    late = taskq("enqueue", "shop.send", "--timeout", "50ms")
    assert late.code == Exit.WAITING
    assert "has not ended within 50 ms: it is queued" in late.err


@pytest.mark.contract
def test_a_result_is_printed_as_json_with_a_code_that_tells(broker: Broker, taskq: Taskq) -> None:
    hand = Hand(broker)
    good, bad, waits, gone = (
        put(broker),
        put(broker),
        put(broker, delay_ms=60_000),
        put(broker, delay_ms=60_000),
    )
    first, second = hand.take()
    hand.succeed(first, ["x", 1])
    hand.fail(second, "boom")
    assert taskq("cancel", gone).out == f"task {gone} is cancelled and will not run\n"

    assert (taskq("result", good).out, taskq("result", good).code) == ('["x", 1]\n', Exit.OK)
    failed = taskq("result", bad)
    assert (failed.out, failed.code) == ("", Exit.NO)
    assert (
        failed.err == f"taskq: task {bad} failed: ValueError: boom (`taskq task {bad}` shows the traceback)\n"
    )
    waiting = taskq("result", waits)
    assert (waiting.code, waiting.err) == (Exit.WAITING, f"taskq: task {waits} is scheduled\n")
    assert taskq("result", waits, "--wait", "--timeout", "0.05").code == Exit.WAITING
    assert taskq("result", gone).code == Exit.NO
    assert taskq("result", "nobody", "--wait").code == Exit.NO
    known = {"id": good, "state": "succeeded", "has_result": True, "error": None, "took_ms": 12}
    assert taskq("result", good, "--json").json == {**known, "result": ["x", 1]}


@pytest.mark.contract
def test_cancel_says_what_became_of_the_task(broker: Broker, taskq: Taskq) -> None:
    hand = Hand(broker)
    task_id = put(broker)
    claimed = hand.take_one()

    asked = taskq("cancel", task_id)
    assert (asked.out, asked.code) == (f"task {task_id} runs; its process was asked to stop it\n", Exit.OK)
    hand.succeed(claimed)
    over = taskq("cancel", task_id, "--json")
    assert (over.json, over.code) == ({"id": task_id, "state": "succeeded"}, Exit.NO)
    assert taskq("cancel", "nobody").code == Exit.NO


@pytest.mark.contract
def test_a_queue_is_paused_resumed_and_purged(broker: Broker, taskq: Taskq) -> None:
    put(broker, queue="mail")
    assert taskq("pause", "mail", "--json").json == {"queue": "mail", "paused": True}
    assert Hand(broker, "mail").take() == []
    assert taskq("queues", "--json").json["queues"][0]["paused"]
    assert taskq("resume", "mail").out == "queue 'mail' is on\n"

    refused = taskq("purge", "mail")
    assert (refused.code, refused.out) == (Exit.USAGE, "")
    assert "give --yes" in refused.err
    assert taskq("purge", "mail", "--yes", "--json").json == {"queue": "mail", "cancelled": 1}
    assert taskq("purge", "typo", "--yes").code == Exit.NO
    assert taskq("resume", "typo").code == Exit.NO


@pytest.mark.contract
def test_no_variable_answers_for_yes(broker: Broker, taskq: Taskq, monkeypatch: pytest.MonkeyPatch) -> None:
    put(broker, queue="mail")
    monkeypatch.setenv("TASKQ_PURGE_YES", "1")

    assert taskq("purge", "mail").code == Exit.USAGE


@pytest.mark.contract
def test_dead_letters_are_listed_shown_requeued_and_purged(broker: Broker, taskq: Taskq) -> None:
    hand = Hand(broker, "mail")
    made = [put(broker, f"shop.{name}", queue="mail") for name in "abc"]
    for claimed in hand.take():
        hand.fail(claimed)

    listed = taskq("dead", "list").out
    assert re.search(rf"^{made[0]} +shop.a +mail +1 +\S+ \S+ +ValueError: boom$", listed, re.MULTILINE)
    assert taskq("dead", "show", made[0], "--json").json["error"]["type"] == "ValueError"
    assert taskq("dead", "show", "nobody").code == Exit.NO
    assert taskq("dead", "requeue").code == Exit.USAGE
    assert taskq("dead", "requeue", made[0], "--all").code == Exit.USAGE
    done = taskq("dead", "requeue", made[0], "nobody", "--json")
    assert done.code == Exit.NO
    assert [one["origin"] for one in done.json["requeued"]] == [made[0]]
    assert "nobody is no dead letter" in done.json["refused"]["nobody"]
    assert taskq("task", done.json["requeued"][0]["id"], "--json").json["origin"] == made[0]
    assert taskq("dead", "purge", "--all").code == Exit.USAGE
    assert taskq("dead", "purge", made[1], "--yes", "--json").json == {"removed": 1}
    assert taskq("dead", "purge", made[1], "--yes").code == Exit.NO
    assert taskq("task", made[1]).code == Exit.NO
    assert "is requeued as" in taskq("dead", "requeue", "--task", "shop.c").out
    assert taskq("dead", "purge", "--all", "--yes").out == "0 dead letters removed\n"
    assert taskq("dead", "list").out == "There are no such dead letters.\n"


@pytest.mark.contract
def test_workers_and_their_tasks_are_listed(broker: Broker, taskq: Taskq) -> None:
    assert "No worker process is known" in taskq("workers").out
    assert "No worker has registered" in taskq("registered").out
    hand = Hand(broker, "mail", tasks={"shop.send": "mail"})

    assert re.search(rf"^{hand.process} +box +7 +shop +mail ", taskq("workers").out, re.MULTILINE)
    [process] = taskq("workers", "--json").json["processes"]
    assert (process["id"], process["host"], process["queues"]) == (hand.process, "box", ["mail"])
    assert re.search(r"^shop.send +mail +1 ", taskq("registered").out, re.MULTILINE)
    assert taskq("registered", "--json").json["tasks"][0]["name"] == "shop.send"
