"""enqueue: each message once, ready or due, in order, and nothing half-written."""

from __future__ import annotations

from typing import Any

import pytest

from taskq.broker.command import Command, run_steps
from taskq.broker.commands import operating
from taskq.broker.commands.producing import BATCH, Envelope, Stored
from taskq.broker.commands.working import Kind
from taskq.errors import BrokerError
from taskq.record import State
from tests.engine import HOUR_MS, Lab, body, ids

pytestmark = pytest.mark.contract


def test_a_plain_task_is_a_message_and_an_id_in_a_list(lab: Lab) -> None:
    assert lab.enqueue("a") == [Stored("a", True)]
    assert lab.ready() == ["a"]
    assert lab.redis("GET", lab.keys.message("a")) == body("a")
    assert lab.raw("a") is None


def test_an_id_that_waits_stores_nothing_again(lab: Lab) -> None:
    lab.enqueue("a", "b")
    before = lab.snapshot()

    assert lab.enqueue("a", "b") == [Stored("a", False), Stored("b", False)]
    assert lab.enqueue("b", delay_ms=1_000, key="k") == [Stored("b", False)]

    assert lab.snapshot() == before


def test_an_id_that_runs_stores_nothing_again(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.claim("p")
    before = lab.snapshot()

    assert lab.enqueue("a") == [Stored("a", False)]

    assert lab.snapshot() == before


@pytest.mark.parametrize("kind", [Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED, Kind.EXPIRED])
def test_an_id_that_ended_is_known_until_its_record_goes(lab: Lab, kind: Kind) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.settle("p", lab.claim("p").tasks, kind, 600_000)

    assert lab.enqueue("a") == [Stored("a", False)]
    lab.redis("DEL", lab.keys.record("a"), lab.keys.message("a"))
    assert lab.enqueue("a") == [Stored("a", True)]


def test_an_id_that_is_scheduled_or_parked_stores_nothing_again(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("later", delay_ms=HOUR_MS)
    lab.enqueue("unknown")
    lab.park("p", lab.claim("p").tasks[0], "app.unknown")
    before = lab.snapshot()

    assert lab.enqueue("later", "unknown") == [Stored("later", False), Stored("unknown", False)]

    assert lab.snapshot() == before


def test_an_id_twice_in_a_batch_is_stored_once(lab: Lab) -> None:
    assert lab.enqueue("a", "a", "b") == [Stored("a", True), Stored("a", False), Stored("b", True)]
    assert lab.ready() == ["a", "b"]


def test_a_message_that_comes_after_its_time_is_refused(lab: Lab) -> None:
    lab.enqueue("known")
    now_ms = lab.now_ms()

    answers = lab.enqueue("known", "new", not_after_ms=now_ms - 1_000)
    mine = lab.enqueue("chosen", not_after_ms=now_ms - 1_000, own_id=True)
    in_time = lab.enqueue("quick", not_after_ms=now_ms + 60_000)

    assert answers == [Stored("known", False), Stored("new", False, too_late=True)]
    assert mine == [Stored("chosen", True)]
    assert in_time == [Stored("quick", True)]
    assert lab.ready() == ["known", "chosen", "quick"]
    assert lab.state("new") is None


def test_a_mixed_batch_goes_each_its_way(lab: Lab) -> None:
    batch = [
        Envelope("plain", "default:5", b"1"),
        Envelope("later", "default:5", b"2", "+60000||||"),
        Envelope("urgent", "mail:9", b"3"),
        Envelope("first", "default:5", b"4", "|||f|"),
        Envelope("fleeting", "default:5", b"5", "|+60000|||"),
        Envelope("unique", "default:5", b"6", "||||job:k"),
        Envelope("twin", "default:5", b"7", "||||job:k"),
        Envelope("late", "default:5", b"8"),
    ]
    stored = lab.store(batch[:-1])

    assert [one.created for one in stored] == [True] * 6 + [False]
    assert stored[-1].id == "unique"
    assert lab.ready() == ["first", "plain", "fleeting", "unique"]
    assert lab.ready("mail:9") == ["urgent"]
    assert set(lab.agenda()) == {"t:later", "x:fleeting"}
    assert lab.state("twin") is None


def test_first_in_first_out_within_a_priority_and_nine_before_zero(lab: Lab) -> None:
    lab.hello("p")
    for priority in (0, 5, 9, 4):
        lab.enqueue(f"{priority}-a", f"{priority}-b", list=f"default:{priority}")

    assert ids(lab.take("p")) == ["9-a", "9-b", "5-a", "5-b", "4-a", "4-b", "0-a", "0-b"]


def test_to_the_front_keeps_the_order_of_a_batch(lab: Lab) -> None:
    lab.enqueue("a", "b")
    lab.enqueue("x", "y", "z", front=True)
    assert lab.ready() == ["x", "y", "z", "a", "b"]


@pytest.mark.parametrize("given", [{}, {"expires_in_ms": HOUR_MS, "delay_ms": HOUR_MS}])
def test_a_batch_of_256_is_one_command(lab: Lab, given: dict[str, int]) -> None:
    names = [f"t{number}" for number in range(BATCH)]
    stored = lab.store([Envelope(id, "default:5", b"m", _options(id, **given)) for id in names])

    assert all(one.created for one in stored)
    assert len(lab.ready()) == (0 if given else BATCH)
    assert len(lab.agenda()) == (2 * BATCH if given else 0)


def test_a_client_sends_what_is_costly_in_smaller_batches(lab: Lab) -> None:
    sent: list[int] = []
    envelopes = [
        Envelope(f"{number:03}", "default:5", b"m", "+60000||||" * (number % 4 > 0)) for number in range(128)
    ]

    def send(command: Command[Any]) -> Any:
        sent.append(len(command.args) // 4)
        return lab.call(command)

    run_steps(lab.broker.store(envelopes), send)

    assert sum(sent) == 128
    assert 64 <= max(sent) < 90


def _options(id: str, expires_in_ms: int = 0, delay_ms: int = 0) -> str:
    return f"+{delay_ms}|+{expires_in_ms}|||job:{id}" if delay_ms else ""


def test_a_list_of_a_wrong_type_refuses_what_would_join_it_and_nothing_else(lab: Lab) -> None:
    lab.redis("SET", lab.keys.ready("broken", 5), "junk")

    stored = lab.store([
        Envelope("a", "broken:5", b"1", "|+60000|||job:k"),
        Envelope("b", "default:5", b"2", "||||job:k"),
        Envelope("c", "broken:5", b"3", "+60000||||"),
    ])  # fmt: skip

    assert stored == [Stored("a", False, wrong_type="broken:5"), Stored("b", True), Stored("c", True)]
    assert lab.ready() == ["b"]
    assert lab.agenda().keys() == {"t:c"}
    assert lab.redis("EXISTS", lab.keys.record("a"), lab.keys.message("a")) == 0
    with pytest.raises(BrokerError, match="task a is not stored: the key of its list, broken:5, has a wrong"):
        stored[0].check()
    lab.redis("DEL", lab.keys.ready("broken", 5))


@pytest.mark.parametrize("company", [0, 1], ids=["alone", "in company"])
def test_a_plain_message_alone_meets_what_it_meets_in_company(lab: Lab, company: int) -> None:
    """The script has a shorter way for one that comes alone."""

    def send(id: str, list: str = "default:5", not_after_ms: int = 0) -> Stored:
        beside = [Envelope(f"beside-{id}", "other:5", b"")] * company
        return lab.store([Envelope(id, list, body(id)), *beside], not_after_ms=not_after_ms)[0]

    lab.redis("SET", lab.keys.ready("broken", 5), "junk")
    past = lab.now_ms() - 1_000

    assert send("a") == Stored("a", True)
    assert send("a") == Stored("a", False)
    assert send("a", not_after_ms=past) == Stored("a", False)
    assert send("b", not_after_ms=past) == Stored("b", False, too_late=True)
    assert send("c", "broken:5") == Stored("c", False, wrong_type="broken:5")
    assert send("d", "mail:9") == Stored("d", True)
    assert [lab.ready(), lab.ready("mail:9")] == [["a"], ["d"]]
    assert lab.redis("GET", lab.keys.message("a")) == body("a")
    assert lab.redis("EXISTS", lab.keys.message("b"), lab.keys.message("c")) == 0
    assert [lab.redis("HGET", lab.keys.queues, name) for name in ("mail", "broken")] == [b"on", None]
    assert [lab.tokens(), lab.tokens("mail")] == [1, 1]
    lab.redis("DEL", lab.keys.ready("broken", 5))


def test_one_call_leaves_a_token_a_queue_and_eight_at_most(lab: Lab) -> None:
    queues = ("default", "mail")
    lab.store([Envelope(f"{queue}{n}", f"{queue}:5", b"") for n in range(3) for queue in queues])
    assert (lab.tokens(), lab.tokens("mail")) == (1, 1)
    for number in range(20):
        lab.enqueue(f"b{number}")
    assert lab.tokens() == 8


def test_a_paused_queue_accepts_and_leaves_no_token_until_it_is_resumed(lab: Lab) -> None:
    lab.call(operating.pause(lab.keys, "default"))

    lab.enqueue("a")
    assert (lab.ready(), lab.tokens()) == (["a"], 0)

    lab.call(operating.resume(lab.keys, "default"))
    assert lab.tokens() == 1


def test_a_delayed_task_wakes_only_where_it_becomes_the_next_thing_due(lab: Lab) -> None:
    lab.enqueue("noon", delay_ms=HOUR_MS)
    assert lab.tokens() == 1
    lab.forget_tokens()

    lab.enqueue("evening", delay_ms=2 * HOUR_MS)
    assert lab.tokens() == 0

    lab.enqueue("morning", delay_ms=HOUR_MS // 2)
    assert lab.tokens() == 1


def test_the_next_thing_due_wakes_all_whose_tasks_came_with_it(lab: Lab) -> None:
    lab.store(
        [Envelope("noon", "mail:5", b"", "+60000||||"), Envelope("morning", "default:5", b"", "+50000||||")]
    )

    assert (lab.tokens(), lab.tokens("mail")) == (1, 1)


def test_a_task_whose_delay_is_over_already_is_ready(lab: Lab) -> None:
    lab.enqueue("now", delay_ms=0)
    lab.enqueue("past", eta_ms=lab.now_ms() - 1_000)

    assert lab.ready() == ["now", "past"]
    assert lab.agenda() == {}


def test_a_queue_is_known_from_its_first_task_on(lab: Lab) -> None:
    lab.enqueue("a", list="mail:5")
    assert lab.redis("HGET", lab.keys.queues, "mail") == b"on"
    lab.call(operating.pause(lab.keys, "mail"))
    lab.enqueue("b", list="mail:5")
    assert lab.redis("HGET", lab.keys.queues, "mail") == b"paused"


def test_enqueue_changes_no_state_that_it_finds(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", expires_in_ms=HOUR_MS, key="job:k")
    task = lab.claim("p").tasks[0]
    lab.settle("p", [task], Kind.RETRY, HOUR_MS)

    lab.enqueue("a", delay_ms=1)

    record = lab.record("a")
    assert record is not None
    assert (record.state, record.failures, record.flags) == (State.SCHEDULED, 1, "xk")
    assert lab.agenda()["t:a"] > HOUR_MS - 10_000
