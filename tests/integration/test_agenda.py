"""The agenda: what falls due, when, and that no entry outlives its task."""

from __future__ import annotations

import pytest

from taskq.broker.commands.working import Kind, parse_rest
from taskq.record import State
from tests.engine import HOUR_MS, Lab, altered_scripts, ids

pytestmark = [pytest.mark.contract, pytest.mark.usefixtures("jumping_clock")]

MINUTE_MS = 60_000


def test_a_delayed_task_starts_when_it_is_due_and_never_before(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", delay_ms=MINUTE_MS)
    lab.enqueue("b", eta_ms=lab.now_ms() + MINUTE_MS)
    assert (lab.state("a"), lab.state("b")) == (State.SCHEDULED, State.SCHEDULED)

    assert lab.claim("p").tasks == []
    lab.pass_time(MINUTE_MS - 2_000)
    batch = lab.claim("p")
    assert batch.tasks == []
    assert batch.due_ms is not None
    assert 0 < batch.due_ms <= 2_000

    lab.pass_time(batch.due_ms + 1_000)
    assert sorted(ids(lab.take("p"))) == ["a", "b"]
    assert lab.agenda() == {}


def test_a_clock_set_back_makes_nothing_early(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", delay_ms=MINUTE_MS)
    lab.jump(-HOUR_MS)
    lab.pass_time(MINUTE_MS)
    assert lab.claim("p").tasks == []
    lab.pass_time(HOUR_MS)
    assert ids(lab.claim("p")) == ["a"]


def test_due_tasks_join_the_back_of_their_lists_and_wake_their_queues(lab: Lab) -> None:
    lab.hello("p", queues=("mail",))
    lab.enqueue("due", "high", delay_ms=MINUTE_MS)
    lab.enqueue("due-9", list="default:9", delay_ms=MINUTE_MS)
    lab.enqueue("waiting")
    lab.forget_tokens("default", "mail")
    lab.pass_time(2 * MINUTE_MS)

    assert lab.claim("p", queues=("mail",)).tasks == []  # anyone files what is due

    assert lab.ready() == ["waiting", "due", "high"]
    assert lab.ready("default:9") == ["due-9"]
    assert (lab.tokens(), lab.tokens("mail")) == (1, 0)


def test_a_call_files_64_and_says_that_more_is_due(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue(*(f"a{n:03}" for n in range(150)), delay_ms=MINUTE_MS)
    lab.pass_time(2 * MINUTE_MS)

    seen = []
    for _ in range(3):
        batch = lab.claim("p", 0)
        seen.append((len(lab.ready()), batch.due_ms))

    assert seen == [(64, 0), (128, 0), (150, None)]


def test_a_retry_waits_its_time_at_the_back(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", list="default:7")
    lab.settle("p", lab.claim("p").tasks, Kind.RETRY, MINUTE_MS)
    lab.enqueue("b", list="default:7")
    assert lab.agenda()["t:a"] > MINUTE_MS - 10_000

    lab.pass_time(2 * MINUTE_MS)
    lab.enqueue("c", list="default:7")
    lab.claim("p", 0)

    assert lab.ready("default:7") == ["b", "c", "a"]


def test_a_retry_that_becomes_the_next_thing_due_wakes_its_queue(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("later", delay_ms=HOUR_MS)
    lab.enqueue("a", "b")
    tasks = lab.take("p")
    lab.forget_tokens()

    lab.settle("p", tasks[:1], Kind.RETRY, 2 * HOUR_MS)
    assert lab.tokens() == 0
    lab.settle("p", tasks[1:], Kind.RETRY, MINUTE_MS)
    assert lab.tokens() == 1


def expired(lab: Lab, id: str) -> bool:
    return lab.state(id) is State.EXPIRED and not lab.has_message(id) and f"x:{id}" not in lab.agenda()


def test_a_queued_task_expires_and_its_id_is_passed_over(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", expires_in_ms=MINUTE_MS)
    lab.enqueue("b")
    lab.pass_time(2 * MINUTE_MS)

    assert ids(lab.take("p")) == ["b"]

    assert expired(lab, "a")
    assert 0 < lab.ttl("t:a") <= 600_000
    assert lab.stats() == {"-|E": 1}
    assert lab.recent() == ["E a -"]
    assert lab.limbo() == set()


def test_an_expired_task_counts_as_known_until_its_list_has_passed_it(lab: Lab) -> None:
    lab.hello("p", queues=("mail",))
    lab.enqueue("a", expires_in_ms=MINUTE_MS)
    lab.pass_time(2 * MINUTE_MS)
    lab.claim("p", queues=("mail",))
    assert expired(lab, "a")
    assert lab.ttl("t:a") == -1
    assert not lab.enqueue("a")[0].created
    assert lab.ready() == ["a"]


def test_a_scheduled_task_expires(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", delay_ms=HOUR_MS, expires_in_ms=MINUTE_MS)
    lab.pass_time(2 * MINUTE_MS)
    lab.claim("p")
    assert expired(lab, "a")
    assert lab.agenda() == {}


def test_a_parked_task_expires(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b", expires_in_ms=MINUTE_MS)
    for task in lab.take("p"):
        assert lab.park("p", task, "app.unknown") == "p"
    lab.pass_time(2 * MINUTE_MS)
    lab.claim("p")

    assert expired(lab, "a")
    assert expired(lab, "b")
    assert lab.names("parked:*") == []


def test_a_task_that_waits_for_a_worker_that_knows_it_expires(lab: Lab) -> None:
    lab.hello("p", "q")
    lab.register("q", **{"app.known": "default"})
    lab.enqueue("a", expires_in_ms=500)
    assert lab.park("p", lab.claim("p").tasks[0], "app.known") == "a"
    lab.pass_time(2 * MINUTE_MS)
    lab.claim("p")
    assert expired(lab, "a")


def test_a_running_task_does_not_expire(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", expires_in_ms=MINUTE_MS)
    tasks = lab.claim("p").tasks
    assert lab.agenda() == {}
    lab.pass_time(2 * MINUTE_MS)
    lab.claim("p")
    assert lab.state("a") is State.RUNNING
    assert [answer.name for answer in lab.settle("p", tasks)] == ["COMMITTED"]


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.RELEASED, Kind.CRASHED, Kind.SUSPECT])
def test_what_is_given_back_expires_as_before(lab: Lab, kind: Kind) -> None:
    lab.hello("p")
    lab.enqueue("a", expires_in_ms=MINUTE_MS)
    lab.settle("p", lab.claim("p").tasks, kind, HOUR_MS)
    assert lab.agenda()["x:a"] <= MINUTE_MS
    lab.pass_time(2 * MINUTE_MS)
    assert lab.claim("p").tasks == []
    assert expired(lab, "a")
    assert lab.agenda() == {}


def test_what_a_reap_gives_back_expires_as_before(lab: Lab) -> None:
    lab.hello("p", "q")
    lab.enqueue("a", expires_in_ms=MINUTE_MS)
    lab.claim("p")
    lab.reap_all("p")
    lab.pass_time(2 * MINUTE_MS)
    assert lab.claim("q").tasks == []
    assert expired(lab, "a")


@pytest.mark.parametrize("expires_in_ms", [MINUTE_MS - 5_000, MINUTE_MS, MINUTE_MS + 5_000])
def test_a_task_of_which_both_times_have_passed_unseen_expires(lab: Lab, expires_in_ms: int) -> None:
    lab.hello("p")
    lab.enqueue("a", delay_ms=MINUTE_MS, expires_in_ms=expires_in_ms)
    lab.pass_time(2 * MINUTE_MS)
    assert lab.claim("p").tasks == []
    assert expired(lab, "a")
    assert (lab.ready(), lab.quarantined()) == ([], [])
    assert lab.stats() == {"-|E": 1}


@pytest.mark.parametrize("kind", [Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED, Kind.EXPIRED])
def test_no_entry_outlives_its_task(lab: Lab, kind: Kind) -> None:
    lab.hello("p")
    lab.enqueue("a", expires_in_ms=HOUR_MS, delay_ms=0)
    lab.settle("p", lab.claim("p").tasks, kind)
    lab.enqueue("b", delay_ms=HOUR_MS, expires_in_ms=HOUR_MS)
    lab.cancel("b")
    assert lab.agenda() == {}
    assert lab.names("x:*") == []


def test_an_entry_with_nothing_behind_it_is_dropped(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.settle("p", lab.claim("p").tasks)
    lab.redis("ZADD", lab.keys.agenda, 1, "t:a", 2, "x:a", 3, "t:ghost", 4, "x:ghost")
    before = lab.raw("a")

    lab.claim("p")

    assert lab.agenda() == {}
    assert lab.raw("a") == before
    assert lab.limbo() == {"ghost"}


def test_an_entry_that_no_task_has_asked_for_ends_none(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("plain", "released")
    lab.enqueue("fleeting", expires_in_ms=HOUR_MS)
    lab.settle("p", lab.take("p", 2)[1:2], Kind.RELEASED)
    lab.redis("ZADD", lab.keys.agenda, 1, "x:plain", 2, "x:released", 3, "x:fleeting")

    lab.claim("p", 0)

    assert lab.state("released") is State.QUEUED
    assert lab.state("fleeting") is State.QUEUED
    assert HOUR_MS - 10_000 < lab.agenda()["x:fleeting"] <= HOUR_MS
    assert list(lab.agenda()) == ["x:fleeting"]


def test_a_claimed_task_says_when_it_expires_after_it_was_given_back(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", expires_in_ms=HOUR_MS)
    first = lab.claim("p").tasks
    lab.settle("p", first, Kind.RELEASED)
    again = lab.claim("p", seq=9).tasks
    repeated = lab.claim("p", seq=9).tasks

    assert parse_rest(first[0].rest).expires_ms == parse_rest(again[0].rest).expires_ms > 0
    assert repeated == again


def test_the_clock_of_these_tests_is_the_scripts_own(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The control: with scripts that do not look at `skew`, a jump changes nothing."""
    lab.hello("p")
    lab.enqueue("a", delay_ms=MINUTE_MS)
    lab.jump(HOUR_MS)
    with altered_scripts(monkeypatch, tmp_path_factory.mktemp("plain"), []):
        assert lab.claim("p").tasks == []
    lab.beat("p")
    assert ids(lab.claim("p")) == ["a"]
