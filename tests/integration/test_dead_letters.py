"""Dead letters: kept, requeued under a new id, discarded, capped; and purge, which cancels what is ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskq.broker.commands import operating
from taskq.broker.commands.producing import Envelope
from taskq.broker.commands.working import Kind
from taskq.errors import BrokerError
from taskq.record import State
from tests.engine import HOUR_MS, Lab, altered_scripts, body, ids

pytestmark = pytest.mark.contract

DAY_MS = 24 * HOUR_MS


def fail(lab: Lab, *names: str, ms: int = DAY_MS, list: str = "default:5") -> None:
    lab.hello("p")
    lab.enqueue(*names, list=list)
    lab.settle("p", lab.take("p", queues=(list.partition(":")[0],)), Kind.FAILED, ms)


def requeue(lab: Lab, old: str, new: str, queue: str = "default") -> int:
    message = b"again " + body(old)
    return int(lab.call(operating.requeue(lab.keys, old, queue, 90_000, new, "default:5", message)))


def discard(lab: Lab, *ids: str) -> tuple[int, int]:
    removed, left = lab.call(operating.discard(lab.keys, "default", ids))
    return removed, left


def purge(lab: Lab, list: str = "default:5") -> tuple[int, int]:
    queue, _, priority = list.partition(":")
    cancelled, left = lab.call(operating.purge(lab.keys, queue, int(priority), 90_000))
    return cancelled, left


def test_a_failed_task_is_kept_with_its_message_as_long_as_its_entry(lab: Lab) -> None:
    fail(lab, "a")
    assert lab.dead() == ["a"]
    assert lab.state("a") is State.FAILED
    assert lab.redis("GET", lab.keys.message("a")) == body("a")
    assert all(DAY_MS - 10_000 < lab.ttl(tail) <= DAY_MS for tail in ("t:a", "b:a", "dead:default"))


def test_a_short_lived_dead_letter_does_not_shorten_the_life_of_others(lab: Lab) -> None:
    fail(lab, "a")
    fail(lab, "b", ms=60_000)
    assert lab.dead() == ["a", "b"]
    assert lab.ttl("dead:default") > HOUR_MS
    assert 0 < lab.ttl("t:b") <= 60_000 < lab.ttl("t:a")


def test_requeue_enqueues_the_work_under_a_new_id_and_leaves_the_old_one_failed(lab: Lab) -> None:
    fail(lab, "a")
    lab.forget_tokens()

    assert requeue(lab, "a", "b") == 1

    assert (lab.state("a"), lab.dead(), lab.has_message("a")) == (State.FAILED, [], False)
    assert 80_000 < lab.ttl("t:a") <= 90_000
    assert lab.tokens() == 1
    assert [task.message for task in lab.claim("p").tasks] == [b"again " + body("a")]


def test_requeue_twice_is_harmless(lab: Lab) -> None:
    fail(lab, "a")
    requeue(lab, "a", "b")
    before = lab.snapshot()
    assert requeue(lab, "a", "b") == 0  # its reply was lost
    assert requeue(lab, "a", "c") == -1  # somebody else does the same
    assert lab.snapshot() == before
    lab.settle("p", lab.claim("p").tasks)
    assert requeue(lab, "a", "b") == 0


def test_only_a_dead_letter_of_that_queue_is_requeued(lab: Lab) -> None:
    fail(lab, "a")
    lab.enqueue("b")
    before = lab.snapshot()
    assert [requeue(lab, "a", "n", "mail"), requeue(lab, "b", "n"), requeue(lab, "ghost", "n")] == [-1] * 3
    assert lab.snapshot() == before


def test_requeue_onto_a_list_of_a_wrong_type_changes_nothing(lab: Lab) -> None:
    fail(lab, "a")
    lab.redis("SET", lab.keys.ready("default", 5), "junk")
    before = lab.snapshot()
    with pytest.raises(BrokerError, match="TQBAD"):
        requeue(lab, "a", "b")
    assert lab.snapshot() == before
    lab.redis("DEL", lab.keys.ready("default", 5))


def test_discard_removes_all_that_a_dead_letter_has(lab: Lab) -> None:
    fail(lab, "a", "b", "c")
    assert discard(lab, "b", "ghost") == (1, 2)
    assert (lab.dead(), lab.state("b"), lab.has_message("b")) == (["a", "c"], None, False)
    assert discard(lab, "b") == (0, 2)
    assert discard(lab) == (2, 0)
    assert lab.names("[tb]:*") == []
    assert discard(lab) == (0, 0)


def test_discard_takes_500_a_call(lab: Lab) -> None:
    for start in range(0, 600, 200):
        fail(lab, *(f"a{n}" for n in range(start, start + 200)))
    assert discard(lab) == (500, 100)
    assert discard(lab) == (100, 0)


def live_again(lab: Lab, id: str) -> None:
    """Let a dead letter's record go, as its time does, and its id be used for new work."""
    lab.redis("DEL", lab.keys.record(id), lab.keys.message(id))
    assert lab.enqueue(id)[0].created


def test_discard_leaves_an_id_alone_that_lives_again(lab: Lab) -> None:
    fail(lab, "daily")
    live_again(lab, "daily")
    assert discard(lab, "daily") == (1, 0)
    assert ids(lab.claim("p")) == ["daily"]


def test_what_has_outlived_its_time_is_trimmed_by_the_next_failure(lab: Lab, jumping_clock: None) -> None:
    fail(lab, "a", "daily", "other", ms=HOUR_MS)
    lab.pass_time(2 * HOUR_MS)
    lab.redis("DEL", lab.keys.record("a"), lab.keys.message("a"))
    live_again(lab, "daily")
    lab.enqueue("z", list="mail:5")
    lab.hello("p", queues=("mail",))
    tasks = lab.claim("p", queues=("mail",)).tasks
    lab.redis("RENAME", lab.keys.dead("default"), lab.keys.dead("mail"))

    lab.settle("p", tasks, Kind.FAILED, HOUR_MS)

    assert lab.dead("mail") == ["other", "z"]  # `other` has another dead_ttl: its record is there still
    assert ids(lab.claim("p")) == ["daily"]


def test_a_queue_keeps_so_many_dead_letters_and_no_more(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fail(lab, "a", "b", "c")
    live_again(lab, "a")
    lab.redis("LREM", lab.keys.ready("default", 5), 1, "a")
    with altered_scripts(monkeypatch, tmp_path, [("settle", "- 10000", "- 3")]):
        fail(lab, "d", "e")

    assert lab.dead() == ["c", "d", "e"]
    assert lab.state("b") is None
    assert not lab.has_message("b")
    assert lab.has_message("a")
    lab.forget("a")


def test_an_unreadable_message_is_a_dead_letter_and_on_record(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.settle("p", lab.claim("p").tasks, Kind.UNREADABLE, DAY_MS)
    assert (lab.dead(), lab.quarantined(), lab.state("a")) == (["a"], [("message", "a")], State.FAILED)
    assert lab.stats() == {"job|F": 1}
    assert lab.ttl("b:a") <= DAY_MS


def test_purge_cancels_what_is_ready_in_one_list(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("running")
    tasks = lab.claim("p").tasks
    lab.enqueue("a", "b", expires_in_ms=HOUR_MS, key="app.job:k")
    lab.enqueue("c")
    lab.enqueue("later", delay_ms=HOUR_MS)
    lab.enqueue("high", list="default:9")

    assert purge(lab) == (2, 0)

    assert (lab.state("a"), lab.state("c")) == (State.CANCELLED, State.CANCELLED)
    assert 80_000 < lab.ttl("t:a") <= 90_000
    assert [lab.state(id) for id in ("running", "later", "high")] == [
        State.RUNNING, State.SCHEDULED, State.QUEUED,
    ]  # fmt: skip
    assert lab.names("[xu]:*") == []
    assert sorted(lab.recent()) == ["C a -", "C c -"]
    assert lab.stats() == {"-|C": 2}
    lab.settle("p", tasks)


def test_purge_takes_500_a_call_oldest_first(lab: Lab) -> None:
    for start in range(0, 600, 200):
        lab.enqueue(*(f"a{n:03}" for n in range(start, start + 200)))
    assert purge(lab) == (500, 100)
    assert lab.ready()[0] == "a500"
    assert purge(lab) == (100, 0)
    assert purge(lab) == (0, 0)


def test_purge_passes_over_what_has_ended_and_puts_what_is_broken_on_record(lab: Lab) -> None:
    lab.store([Envelope(id, "default:5", b"m", "|+3600000|||") for id in ("cancelled", "hollow", "garbled")])
    lab.enqueue("plain")
    lab.cancel("cancelled")
    lab.redis("DEL", lab.keys.message("hollow"))
    lab.redis("SET", lab.keys.record("garbled"), "junk")
    lab.redis("RPUSH", lab.keys.ready("default", 5), "ghost", "plain")

    assert purge(lab) == (1, 0)

    assert lab.state("plain") is State.CANCELLED
    assert lab.ttl("t:cancelled") <= 90_000
    assert sorted(lab.quarantined()) == [("record", "garbled"), ("record", "hollow")]
    assert all(lab.ttl(tail) != -1 for tail in lab.names("[tb]:*"))
    lab.redis("DEL", *(lab.keys.prefix + name for name in lab.names("x:*")))


def test_a_purge_of_nothing_but_what_has_ended_counts_nothing(lab: Lab, jumping_clock: None) -> None:
    lab.enqueue("a")
    lab.cancel("a")
    counted = lab.names("stats:*")
    lab.jump(HOUR_MS)
    assert lab.call(operating.purge(lab.keys, "default", 5, 600_000)) == (0, 0)
    assert lab.names("stats:*") == counted


def test_a_paused_queue_is_not_woken_by_a_requeue(lab: Lab) -> None:
    fail(lab, "a")
    lab.call(operating.pause(lab.keys, "default"))
    lab.forget_tokens()
    requeue(lab, "a", "b")
    assert (lab.tokens(), lab.ready()) == (0, ["b"])
