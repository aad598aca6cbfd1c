"""settle: one outcome a generation, whatever is repeated, reaped or deleted meanwhile."""

from __future__ import annotations

import pytest

from taskq.broker.commands.working import Answer, Claimed, Kind
from taskq.record import State
from tests.engine import Lab, ids, outcome

pytestmark = pytest.mark.contract

COMMITTED, ALREADY, LOST, GONE = Answer.COMMITTED, Answer.ALREADY, Answer.LOST, Answer.GONE

AFTER = {
    Kind.SUCCEEDED: State.SUCCEEDED,
    Kind.FAILED: State.FAILED,
    Kind.CANCELLED: State.CANCELLED,
    Kind.EXPIRED: State.EXPIRED,
    Kind.UNREADABLE: State.FAILED,
    Kind.RETRY: State.SCHEDULED,
    Kind.RELEASED: State.QUEUED,
    Kind.CRASHED: State.QUEUED,
    Kind.SUSPECT: State.QUEUED,
}


@pytest.fixture
def task(lab: Lab) -> Claimed:
    """A task with all that a task can have, claimed by p."""
    lab.hello("p", "q")
    lab.enqueue("a", expires_in_ms=3_600_000, key="job:k")
    return lab.claim("p").tasks[0]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_commits_once_and_is_already_committed_then(lab: Lab, task: Claimed, kind: Kind) -> None:
    assert lab.settle("p", [task], kind) == [COMMITTED]
    assert lab.state("a") is AFTER[kind]
    assert lab.held("p") == {}
    before = lab.snapshot()

    assert lab.settle("p", [task], kind) == [ALREADY]
    assert lab.settle("p", [task], Kind.SUCCEEDED) == [ALREADY]

    assert lab.snapshot() == before


@pytest.mark.parametrize("kind", Kind)
def test_another_process_or_generation_commits_nothing(lab: Lab, task: Claimed, kind: Kind) -> None:
    before = lab.snapshot()

    assert lab.settle("q", [task], kind) == [LOST]
    assert lab.report("p", [("a", task.g - 1, kind.value, 1_000, "job", 0, b"")]) == [LOST]
    assert lab.report("p", [("other", task.g, kind.value, 1_000, "job", 0, b"")]) == [GONE]

    assert lab.snapshot() == before


@pytest.mark.parametrize("kind", Kind)
def test_after_a_reap_all_is_lost(lab: Lab, task: Claimed, kind: Kind) -> None:
    lab.reap_all("p")
    before = lab.snapshot()
    assert lab.settle("p", [task], kind) == [LOST]
    assert lab.snapshot() == before
    again = lab.claim("q").tasks
    assert lab.settle("p", [task], kind) == [LOST]
    assert lab.settle("q", again) == [COMMITTED]
    assert lab.settle("p", [task], kind) == [LOST]


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.RELEASED, Kind.CRASHED, Kind.SUSPECT])
def test_what_was_given_back_is_already_settled_until_another_claims_it(
    lab: Lab, task: Claimed, kind: Kind
) -> None:
    lab.settle("p", [task], kind, 0)
    assert lab.settle("p", [task], kind, 0) == [ALREADY]
    lab.claim("q", 0)  # files what is due
    assert lab.settle("p", [task], kind, 0) == [ALREADY]
    again = lab.claim("q").tasks
    assert ids(again) == ["a"]
    before = lab.snapshot()
    assert lab.settle("p", [task], kind, 0) == [LOST]
    assert lab.snapshot() == before


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.RELEASED, Kind.CRASHED, Kind.SUSPECT])
def test_giving_back_a_cancelled_task_ends_it_and_a_repeat_is_already_settled(
    lab: Lab, task: Claimed, kind: Kind
) -> None:
    lab.cancel("a")
    assert lab.settle("p", [task], kind) == [COMMITTED]
    assert lab.state("a") is State.CANCELLED
    before = lab.snapshot()

    assert lab.settle("p", [task], kind) == [ALREADY]

    assert lab.snapshot() == before


@pytest.mark.parametrize("kind", [Kind.SUCCEEDED, Kind.CANCELLED, Kind.EXPIRED])
def test_a_message_that_is_kept_stays_as_long_as_the_record_and_changes_nothing_else(
    lab: Lab, task: Claimed, kind: Kind
) -> None:
    def kept(one: Claimed) -> list[Answer]:
        return lab.report("p", [(one.id, one.g, kind.value.lower(), 60_000, "job", 3, b"")])

    lab.enqueue("plain")
    [plain] = lab.claim("p").tasks

    assert kept(task) == kept(plain) == [COMMITTED]

    assert lab.state("a") is AFTER[kind]
    assert lab.stats() == {f"job|{kind.value}": 2}
    assert lab.names("x:*") == lab.names("u:*") == [*lab.agenda()] == []
    for id in ("a", "plain"):
        assert 0 < lab.ttl(f"b:{id}") <= 60_000
        assert abs(lab.ttl(f"b:{id}") - lab.ttl(f"t:{id}")) < 1_000
    before = lab.snapshot()
    assert kept(task) == [ALREADY]
    assert [one.created for one in lab.enqueue("a", "plain")] == [False, False]
    lab.cancel("a")
    assert lab.reconcile("a", "plain") == 0
    assert lab.snapshot() == before
    assert lab.claim("q").tasks == []


def test_the_same_outcome_twice_in_a_batch_counts_once(lab: Lab, task: Claimed) -> None:
    assert lab.settle("p", [task, task], Kind.RETRY, 60_000) == [COMMITTED, ALREADY]
    record = lab.record("a")
    assert record is not None
    assert (record.state, record.failures) == (State.SCHEDULED, 1)
    assert lab.stats() == {"job|R": 1}


def test_each_outcome_of_a_batch_is_judged_alone(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue(*"abcdefg")
    tasks = lab.take("p")
    lab.settle("p", tasks[:1])
    lab.forget("b")
    kinds = [Kind.SUCCEEDED] * 3 + [Kind.FAILED, Kind.RETRY, Kind.RELEASED, Kind.CRASHED]

    answers = lab.report("p", [outcome(task, kind) for task, kind in zip(tasks, kinds, strict=True)])

    assert answers == [ALREADY, GONE, *[COMMITTED] * 5]
    assert [lab.state(id) for id in "cdefg"] == [
        State.SUCCEEDED, State.FAILED, State.SCHEDULED, State.QUEUED, State.QUEUED,
    ]  # fmt: skip


def test_settle_and_claim_as_a_worker_sends_them_survive_a_lost_reply(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue(*(f"a{n}" for n in range(16)))
    first = lab.claim("p", 4, seq=1).tasks
    lab.settle("p", first[:2], Kind.RETRY, 60_000)
    second = lab.claim("p", 4, seq=2).tasks  # both replies are lost

    assert lab.settle("p", first[:2], Kind.RETRY, 60_000) == [ALREADY, ALREADY]
    assert lab.claim("p", 4, seq=2).tasks == second

    assert lab.stats() == {"job|R": 2}
    assert len(lab.held("p")) == 2 + 4


def test_each_counter_counts_what_it_says(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    expected = [(0, 0), (1, 0), (2, 0), (2, 1), (2, 1), (2, 1), (2, 2)]
    kinds = [Kind.RETRY, Kind.RETRY, Kind.CRASHED, Kind.RELEASED, Kind.SUSPECT, Kind.CRASHED, Kind.SUCCEEDED]
    seen = []
    for kind in kinds:
        lab.claim("p", 0)
        (task,) = lab.claim("p").tasks
        record = lab.record("a")
        assert record is not None
        seen.append((record.failures, record.crashes))
        assert lab.settle("p", [task], kind, 0 if kind is Kind.RETRY else 600_000) == [COMMITTED]
    assert seen == expected
    assert lab.stats() == {"job|R": 2, "job|X": 2, "job|L": 1, "job|K": 1, "job|S": 1}
    assert lab.recent() == ["S a job"]


def test_only_a_suspect_becomes_careful(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    for kind, flags in ((Kind.CRASHED, ""), (Kind.RELEASED, ""), (Kind.SUSPECT, "c"), (Kind.SUSPECT, "c")):
        lab.settle("p", lab.claim("p").tasks, kind)
        record = lab.record("a")
        assert record is not None
        assert record.flags == flags


def test_every_end_is_counted_and_listed_once(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("s", "f", "c", "e", "r", "l")
    tasks = lab.take("p")
    ends = [Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED, Kind.EXPIRED]
    for id in ("r", "l"):
        lab.cancel(id)

    lab.report("p", [outcome(task, kind) for task, kind in zip(tasks[:4], ends, strict=True)])
    lab.settle("p", tasks[4:5], Kind.RETRY)
    lab.settle("p", tasks[5:], Kind.RELEASED)

    assert sorted(lab.recent()) == ["C c job", "C l -", "C r job", "E e job", "F f job", "S s job"]
    counted = {label: n for label, n in lab.stats().items() if label[-1] in "SFCE"}
    assert counted == {"job|S": 1, "job|F": 1, "job|C": 2, "job|E": 1, "-|C": 1}


def test_a_release_puts_a_batch_back_in_its_order_at_the_head(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue(*(f"a{n:02}" for n in range(20)))
    lab.enqueue("high", list="default:9")
    before = lab.ready()
    tasks = lab.take("p", 12)

    lab.settle("p", tasks, Kind.RELEASED)

    assert lab.ready() == before
    assert lab.ready("default:9") == ["high"]
    assert lab.tokens() > 0
    assert all(lab.record(task.id).failures == 0 for task in tasks)  # type: ignore[union-attr]


def test_a_retry_joins_the_back_when_it_is_due(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b", "c")
    lab.settle("p", lab.claim("p", 1).tasks, Kind.RETRY, 0)
    assert ids(lab.take("p")) == ["b", "c", "a"]


def test_an_ended_task_leaves_a_tombstone_with_a_time_and_nothing_else(lab: Lab, task: Claimed) -> None:
    lab.settle("p", [task], Kind.SUCCEEDED, 90_000)
    assert 80_000 < lab.ttl("t:a") <= 90_000
    assert [name for name in lab.names() if name.endswith((":a", ":k"))] == ["t:a"]
    assert lab.agenda() == {}


def test_the_result_is_what_the_record_ends_with(lab: Lab, task: Claimed) -> None:
    result = bytes(range(256)) + b"||\n\0|"
    lab.report("p", [outcome(task, result=result)])
    assert lab.raw("a") == b"S|%d|p|%s" % (task.g, result)


@pytest.mark.parametrize("record", ["missing", "another type"])
def test_a_task_whose_record_is_gone_is_held_no_more(lab: Lab, task: Claimed, record: str) -> None:
    lab.redis("DEL", lab.keys.record("a"))
    if record == "another type":
        lab.redis("RPUSH", lab.keys.record("a"), "x")

    assert lab.settle("p", [task]) == [GONE]

    assert lab.held("p") == {}
    lab.forget("a")


DELETED: dict[str, tuple[str, ...]] = {"with its message": ("t:", "b:"), "alone": ("t:",)}


@pytest.mark.parametrize("deleted", DELETED)
def test_a_zombie_of_an_earlier_life_of_an_id_is_fenced(lab: Lab, deleted: str) -> None:
    lab.hello("p", "q")
    lab.enqueue("daily")
    old = lab.claim("p").tasks
    lab.redis("DEL", *(f"{lab.keys.prefix}{kind}daily" for kind in DELETED[deleted]))
    lab.enqueue("daily")
    if deleted == "alone":  # its message was there still: an id that lives
        lab.redis("RPUSH", lab.keys.ready("default", 5), "daily")
    new = lab.claim("q").tasks

    assert lab.settle("p", old) == [LOST]
    assert lab.settle("p", old, Kind.RELEASED) == [LOST]
    assert lab.held("p") == {}
    assert lab.settle("q", new) == [COMMITTED]


def test_a_zombie_is_fenced_after_its_id_ended_and_lived_again(lab: Lab) -> None:
    lab.hello("p", "q", "r")
    lab.enqueue("daily")
    old = lab.claim("p").tasks
    lab.reap_all("p")
    lab.settle("q", lab.claim("q").tasks)
    lab.redis("DEL", lab.keys.record("daily"))  # its time is over
    lab.enqueue("daily")
    new = lab.claim("r").tasks
    assert lab.settle("p", old) == [LOST]
    assert lab.settle("r", new) == [COMMITTED]


def test_settling_the_old_claim_of_a_task_keeps_the_new_one_held(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    old = lab.claim("p").tasks
    lab.settle("p", old, Kind.RELEASED)
    new = lab.claim("p").tasks
    assert lab.settle("p", old) == [LOST]
    assert {id: hold.g for id, hold in lab.held("p").items()} == {"a": new[0].g}
    assert lab.settle("p", new) == [COMMITTED]
