"""claim: which tasks a process gets, in which order, and what a repeat gives."""

from __future__ import annotations

import pytest

from taskq.broker.commands import operating
from taskq.broker.commands.producing import Envelope
from taskq.broker.commands.working import Answer, Kind, parse_rest
from taskq.record import State
from tests.engine import HOUR_MS, LEASE_MS, Lab, body, ids, refused

pytestmark = pytest.mark.contract


def test_a_claimed_task_comes_with_all_its_process_needs(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("plain", list="default:7")
    lab.enqueue("special", list="default:3", expires_in_ms=HOUR_MS, key="job:k")

    plain, special = lab.take("p")

    assert (plain.id, plain.message) == ("plain", body("plain"))
    rest = parse_rest(plain.rest)
    assert (rest.failures, rest.crashes, rest.flags, rest.expires_ms) == (0, 0, "", 0)
    assert (rest.queue, rest.priority) == ("default", 7)
    rest = parse_rest(special.rest)
    assert (rest.flags, rest.queue, rest.priority) == ("xk", "default", 3)
    assert abs(rest.expires_ms - lab.now_ms() - HOUR_MS) < 10_000
    record = lab.record("special")
    assert record is not None
    assert (record.state, record.g, record.owner) == (State.RUNNING, special.g, "p")


def test_a_process_without_a_lease_gets_nothing(lab: Lab) -> None:
    lab.enqueue("a")
    assert refused(lab, "stranger")
    lab.hello("p")
    lab.reap_all("p")
    assert refused(lab, "p")
    assert lab.ready() == ["a"]


def test_a_lease_that_ran_out_is_refused_until_the_next_beat(lab: Lab, jumping_clock: None) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.jump(LEASE_MS)
    assert refused(lab, "p")
    lab.beat("p")
    assert ids(lab.claim("p")) == ["a"]


def test_the_same_seq_gives_the_same_batch(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue(*(f"a{n:02}" for n in range(40)))

    first = lab.claim("p", 10, seq=1)
    before = lab.snapshot()
    again = lab.claim("p", 10, seq=1)

    assert again.tasks == first.tasks
    assert len(lab.held("p")) == 10
    assert lab.snapshot() == before


def test_a_repeat_gives_only_what_still_runs_of_its_batch(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue(*"abcdef")
    first = lab.claim("p", 3, seq=1).tasks
    lab.hello("q")
    lab.settle("p", first[:1])
    lab.settle("p", first[1:2], Kind.RETRY, 0)
    others = lab.take("q", 10)

    again = lab.claim("p", 3, seq=1)

    assert "b" in ids(others)
    assert ids(again) == ["c"]
    assert again.more


def test_a_repeat_does_not_give_a_task_that_was_claimed_anew(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    old = lab.claim("p", seq=1).tasks
    lab.settle("p", old, Kind.RELEASED)
    new = lab.claim("p", seq=2).tasks

    assert ids(new) == ["a"]
    assert new[0].g > old[0].g
    assert refused(lab, "p", seq=1)
    assert lab.claim("p", seq=2).tasks == new


def test_a_lower_seq_is_stale(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b", "c")
    lab.claim("p", 1, seq=7)
    assert refused(lab, "p", seq=6)
    assert ids(lab.claim("p", 1, seq=8)) == ["b"]
    assert lab.ready() == ["c"]


def test_a_claim_that_gives_nothing_writes_nothing(lab: Lab) -> None:
    lab.hello("p")
    before = lab.snapshot()
    for seq in (1, 1, 2):
        assert lab.claim("p", seq=seq).tasks == []
    assert lab.snapshot() == before
    lab.enqueue("a")
    assert ids(lab.claim("p", seq=2)) == ["a"]


def test_the_generation_never_falls(lab: Lab) -> None:
    lab.hello("p")
    seen = [lab.now_ms() * 1_000 - HOUR_MS * 1_000]
    for _ in range(3):
        lab.enqueue("a", "b", "c")
        seen += [task.g for task in lab.take("p")]
        for key in lab.names():  # what FLUSHALL does to a namespace
            lab.redis("DEL", lab.keys.prefix + key)
        lab.hello("p")
    assert len(seen) == 10
    assert seen == sorted(set(seen))


def test_queues_are_served_strictly_in_the_order_of_the_claim(lab: Lab) -> None:
    queues = ("mail", "default", "bulk")
    lab.hello("p", queues=queues)
    for queue in ("bulk", "default", "mail"):
        lab.enqueue(f"{queue}-low", list=f"{queue}:0")
        lab.enqueue(f"{queue}-high", list=f"{queue}:9")

    taken: list[str] = []
    while some := ids(lab.claim("p", queues=queues)):
        taken += some

    assert taken == [f"{queue}-{which}" for queue in queues for which in ("high", "low")]


def test_nothing_is_given_of_a_paused_queue(lab: Lab) -> None:
    queues = ("mail", "default")
    lab.hello("p", queues=queues)
    lab.enqueue("m", list="mail:5")
    lab.enqueue("d")
    lab.call(operating.pause(lab.keys, "mail"))
    lab.forget_tokens(*queues)

    assert ids(lab.take("p", queues=queues)) == ["d"]
    assert lab.tokens("mail") == 0

    lab.call(operating.resume(lab.keys, "mail"))
    assert lab.tokens("mail") == 1
    assert ids(lab.take("p", queues=queues)) == ["m"]


def test_a_claim_of_nothing_uses_its_seq_up(lab: Lab) -> None:
    """A claim of a connection that was given up may still wait behind its BLPOP: nobody would read what it gives."""
    lab.hello("p")
    lab.claim("p", 0, seq=1)
    lab.enqueue("a")

    assert lab.claim("p", 1, seq=1).tasks == []
    assert ids(lab.claim("p", 1, seq=2)) == ["a"]


def test_a_careful_task_is_claimed_alone(lab: Lab) -> None:
    lab.hello("p", "q")
    lab.enqueue("bad")
    lab.settle("p", lab.claim("p").tasks, Kind.SUSPECT)
    lab.enqueue("a", "b", "c", "d", front=True)
    lab.enqueue("e", "f", list="mail:5")
    queues = ("default", "mail")

    before = lab.claim("p", queues=queues)
    assert ids(before)[:2] == ["a", "b"]
    assert "bad" not in ids(before)
    lab.take("p", 2)
    alone = lab.claim("p", queues=queues)

    assert ids(alone) == ["bad"]
    assert parse_rest(alone.tasks[0].rest).careful
    assert lab.tokens() > 0  # the others are for somebody else
    assert ids(lab.claim("q", queues=queues)) == ["e"]


def test_neighbours_of_a_careful_task_keep_their_places(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "bad", "z")
    first = lab.take("p")
    lab.settle("p", first[:1], Kind.RELEASED)
    lab.settle("p", first[2:], Kind.RELEASED)
    lab.settle("p", first[1:2], Kind.SUSPECT)
    assert lab.ready() == ["bad", "z", "a"]

    assert ids(lab.claim("p")) == ["bad"]
    assert lab.ready() == ["z", "a"]


def test_two_ids_of_one_task_in_a_list_start_it_once(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b")
    lab.redis("RPUSH", lab.keys.ready("default", 5), "a", "b", "a")

    taken = lab.take("p")

    assert ids(taken) == ["a", "b"]
    assert lab.settle("p", taken) == [Answer.COMMITTED] * 2


def test_an_id_with_nothing_behind_it_goes_to_limbo(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.redis("LPUSH", lab.keys.ready("default", 5), "ghost")
    assert ids(lab.take("p")) == ["a"]
    assert lab.limbo() == {"ghost"}
    lab.redis("DEL", lab.keys.limbo)


def test_a_claim_tells_whether_there_is_more_and_when_something_is_due(lab: Lab) -> None:
    lab.hello("p")
    assert lab.claim("p").due_ms is None
    lab.store([Envelope("later", "default:5", b"", "+60000||||")])
    lab.enqueue("a", "b", "c")

    batch = lab.claim("p", 2)

    assert batch.more
    assert batch.due_ms is not None
    assert 50_000 < batch.due_ms <= 60_000
    assert abs(batch.now_ms - lab.now_ms()) < 10_000
    rest = lab.claim("p", 2)
    assert ids(rest) == ["c"]
    assert not rest.more
    lab.enqueue("d")
    lab.enqueue("soon", delay_ms=5_000)
    assert lab.claim("p", 2).more


def test_a_repeated_claim_tells_when_something_is_due_too(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("later", delay_ms=60_000)
    lab.enqueue("a")
    lab.claim("p", seq=1)
    due_ms = lab.claim("p", seq=1).due_ms
    assert due_ms is not None
    assert 50_000 < due_ms <= 60_000


def test_hello_repeated_registers_once(lab: Lab) -> None:
    lab.hello("p")
    before = lab.snapshot()
    lab.hello("p")
    after = lab.snapshot()
    for name in before.keys() - {"procs"}:
        assert after[name] == before[name]
    assert len(after["procs"]) == 2
    assert lab.redis("SCARD", lab.keys.serves("default")) == 1
