"""Tasks that a worker does not know: sent round, parked, and released by the first that knows them."""

from __future__ import annotations

import pytest

from taskq.broker.commands.working import Answer, Claimed
from taskq.record import State
from tests.engine import Lab, ids

pytestmark = pytest.mark.contract

JOB = "app.job"


@pytest.fixture
def task(lab: Lab) -> Claimed:
    """A task that p has claimed and does not know."""
    lab.hello("p")
    lab.enqueue("a", list="default:7")
    return lab.claim("p").tasks[0]


def test_a_task_that_nobody_knows_is_parked(lab: Lab, task: Claimed) -> None:
    assert lab.park("p", task, JOB) == "p"
    record = lab.record("a")
    assert record is not None
    assert (record.state, record.owner, record.queue, record.priority) == (State.PARKED, JOB, "default", 7)
    assert lab.redis("SMEMBERS", lab.keys.parked(JOB)) == [b"a"]
    assert (lab.held("p"), lab.claim("p").tasks, lab.agenda()) == ({}, [], {})


def test_parking_charges_nothing(lab: Lab, task: Claimed) -> None:
    lab.park("p", task, JOB)
    lab.register("p", **{JOB: "default"})
    again = lab.claim("p").tasks[0]
    assert again.rest == task.rest
    assert again.g > task.g
    assert lab.stats() == {}


def test_a_parked_task_waits_for_a_process_that_registers_it(lab: Lab, task: Claimed) -> None:
    lab.park("p", task, JOB)
    lab.hello("q")
    lab.register("q", **{"app.other": "default"})
    assert lab.claim("q").tasks == []
    lab.forget_tokens()

    assert lab.register("q", **{JOB: "default"}) == 0

    assert lab.tokens() == 1
    assert lab.ready("default:7") == ["a"]
    assert ids(lab.claim("q")) == ["a"]
    assert lab.names("parked:*") == []


def test_a_task_goes_round_while_another_live_process_knows_it(
    lab: Lab, task: Claimed, jumping_clock: None
) -> None:
    lab.hello("q")
    lab.register("q", **{JOB: "default"})

    assert lab.park("p", task, JOB) == "a"

    assert lab.state("a") is State.SCHEDULED
    assert 0 < lab.agenda()["t:a"] <= 1_000
    lab.pass_time(1_500)
    assert ids(lab.claim("q")) == ["a"]


def test_who_knows_a_task_but_does_not_serve_its_queue_does_not_count(lab: Lab, task: Claimed) -> None:
    lab.hello("q", queues=("mail",))
    lab.register("q", **{JOB: "mail"})
    assert lab.park("p", task, JOB) == "p"


def test_who_knew_a_task_and_was_reaped_does_not_count(lab: Lab, task: Claimed) -> None:
    lab.hello("q")
    lab.register("q", **{JOB: "default"})
    lab.reap_all("q")
    assert lab.park("p", task, JOB) == "p"


def test_who_knew_a_task_and_lost_its_lease_does_not_count(
    lab: Lab, task: Claimed, jumping_clock: None
) -> None:
    lab.hello("q")
    lab.register("q", **{JOB: "default"})
    lab.jump(60_000)
    lab.beat("p")
    assert lab.park("p", task, JOB) == "p"


def test_a_process_does_not_count_on_itself(lab: Lab, task: Claimed) -> None:
    lab.register("p", **{JOB: "default"})
    assert lab.park("p", task, JOB) == "p"


@pytest.mark.parametrize("known", [True, False])
def test_a_repeat_of_park_says_the_same_and_does_nothing(lab: Lab, task: Claimed, known: bool) -> None:
    lab.hello("q")
    if known:
        lab.register("q", **{JOB: "default"})
    first = lab.park("p", task, JOB)
    before = lab.snapshot()

    assert lab.park("p", task, JOB) == first == ("a" if known else "p")

    assert lab.snapshot() == before


def test_park_is_fenced(lab: Lab, task: Claimed) -> None:
    lab.hello("q")
    stranger = Claimed(task.id, task.g, b"", b"")
    older = Claimed(task.id, task.g - 1, b"", b"")
    assert lab.park("q", stranger, JOB) == "l"
    assert lab.park("p", older, JOB) == "l"
    lab.reap_all("p")
    assert lab.park("p", task, JOB) == "l"
    again = lab.claim("q").tasks
    assert lab.park("p", task, JOB) == "l"
    assert lab.settle("q", again) == [Answer.COMMITTED]
    assert lab.park("p", task, JOB) == "l"


def test_a_parked_task_is_lost_to_those_who_settle_it_late(lab: Lab, task: Claimed) -> None:
    lab.park("p", task, JOB)
    assert lab.settle("p", [task]) == [Answer.LOST]
    assert lab.state("a") is State.PARKED


def park_many(lab: Lab, job: str, count: int) -> None:
    names = [f"{job}{n:04}" for n in range(count)]
    for start in range(0, count, 250):
        lab.enqueue(*names[start : start + 250])
        for one in lab.take("p"):
            assert lab.park("p", one, job) == "p"


def test_register_releases_500_a_call_and_says_how_many_are_left(lab: Lab) -> None:
    lab.hello("p")
    park_many(lab, JOB, 620)

    assert lab.register("p", **{JOB: "default"}) == 120
    assert len(lab.ready()) == 500
    assert lab.register("p", **{JOB: "default"}) == 0
    assert sorted(lab.ready()) == [f"{JOB}{n:04}" for n in range(620)]


def test_register_forgets_no_task_when_another_has_used_up_the_call(lab: Lab) -> None:
    lab.hello("p")
    park_many(lab, "app.many", 500)
    park_many(lab, "app.few", 3)
    both = {"app.many": "default", "app.few": "default"}

    assert lab.register("p", **both) == 3
    assert lab.register("p", **both) == 0
    assert len(lab.ready()) == 503


def test_what_is_released_together_keeps_its_order(lab: Lab) -> None:
    lab.hello("p")
    park_many(lab, JOB, 40)
    lab.register("p", **{JOB: "default"})
    assert lab.ready() == [f"{JOB}{n:04}" for n in range(40)]


def test_register_notes_where_a_task_is_declared_and_who_knows_it(lab: Lab) -> None:
    lab.hello("p", "q")
    lab.register("p", **{JOB: "mail"})
    lab.register("q", **{JOB: "default", "app.other": "default"})
    queue, _, at_ms = lab.redis("HGET", lab.keys.tasks, JOB).partition(b"|")
    assert queue == b"default"
    assert abs(int(at_ms) - lab.now_ms()) < 10_000
    assert sorted(lab.redis("SMEMBERS", lab.keys.knows(JOB))) == [b"p", b"q"]


def test_register_drops_those_who_are_gone(lab: Lab) -> None:
    lab.hello("p", "q", "r")
    for process in ("p", "q"):
        lab.register(process, **{JOB: "default"})
    lab.reap_all("p")
    lab.register("r", **{JOB: "default"})
    assert sorted(lab.redis("SMEMBERS", lab.keys.knows(JOB))) == [b"q", b"r"]


def test_what_is_parked_and_is_no_parked_task_is_passed_over(lab: Lab, task: Claimed) -> None:
    lab.park("p", task, JOB)
    lab.enqueue("waiting")
    lab.redis("SADD", lab.keys.parked(JOB), "ghost", "waiting")
    lab.register("p", **{JOB: "default"})
    assert sorted(ids(lab.take("p"))) == ["a", "waiting"]
    assert lab.limbo() == {"ghost"}
