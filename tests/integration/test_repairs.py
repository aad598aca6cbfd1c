"""reconcile and mend: what nothing points to any more is found, and keys of a wrong type get out of the way."""

from __future__ import annotations

import time

import pytest

from taskq.broker.commands.working import Answer, Kind
from taskq.broker.keys import Keys
from taskq.record import State
from taskq.worker.sweeper import Sweeper
from tests.engine import HOUR_MS, Lab, ids

pytestmark = pytest.mark.contract


def mended_once(lab: Lab, *ids: str) -> bool:
    """Mend, and see that a repeat finds nothing to do."""
    first = lab.reconcile(*ids)
    before = lab.snapshot()
    assert lab.reconcile(*ids) == 0
    assert lab.snapshot() == before
    return first == len(ids)


def flags(lab: Lab, id: str) -> str:
    record = lab.record(id)
    assert record is not None
    return record.flags


def test_a_running_task_that_nobody_holds_goes_back_careful(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b", expires_in_ms=HOUR_MS)
    tasks = lab.take("p")
    lab.redis("DEL", lab.keys.held("p"))

    assert mended_once(lab, "a", "b")

    assert sorted(lab.ready()) == ["a", "b"]
    assert flags(lab, "a") == "xc"
    assert set(lab.agenda()) == {"x:a", "x:b"}
    assert lab.settle("p", tasks) == [Answer.LOST] * 2


def test_a_running_task_whose_hold_is_another_claims_goes_back(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    g = lab.claim("p").tasks[0].g
    lab.redis("HSET", lab.keys.held("p"), "a", f"1:1:{g - 1}:0")
    assert mended_once(lab, "a")
    assert lab.ready() == ["a"]


def test_a_running_task_that_is_held_is_left_alone(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.claim("p")
    before = lab.snapshot()
    assert lab.reconcile("a") == 0
    assert lab.snapshot() == before


def test_a_process_that_was_reaped_in_part_is_brought_to_the_sweepers_notice(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.claim("p")
    lab.redis("ZREM", lab.keys.processes, "p")
    lab.redis("HDEL", lab.keys.beats, "p")

    assert mended_once(lab, "a")

    assert lab.redis("HGET", lab.keys.beats, "p") == b"0"
    lab.reap_all("p")
    assert lab.ready() == ["a"]


def test_a_cancelled_running_task_that_nobody_holds_ends(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.claim("p")
    lab.cancel("a")
    lab.redis("DEL", lab.keys.held("p"))
    assert mended_once(lab, "a")
    assert lab.state("a") is State.CANCELLED


def test_a_scheduled_task_that_left_the_agenda_is_due_now(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", delay_ms=HOUR_MS, expires_in_ms=2 * HOUR_MS)
    lab.enqueue("b")
    lab.settle("p", lab.claim("p").tasks, Kind.RETRY, HOUR_MS)
    lab.redis("DEL", lab.keys.agenda)

    assert mended_once(lab, "a", "b")

    assert {entry: due <= 0 for entry, due in lab.agenda().items()} == {
        "t:a": True,
        "t:b": True,
        "x:a": False,
    }
    assert sorted(ids(lab.take("p"))) == ["a", "b"]


@pytest.mark.parametrize("gone", ["removed", "of a wrong type"])
def test_a_parked_task_that_no_set_has_is_parked_again(lab: Lab, gone: str) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.park("p", lab.claim("p").tasks[0], "app.job")
    lab.redis("DEL", lab.keys.parked("app.job"))
    if gone != "removed":
        lab.redis("SET", lab.keys.parked("app.job"), "junk")

    assert mended_once(lab, "a")

    lab.register("p", **{"app.job": "default"})
    assert ids(lab.claim("p")) == ["a"]


@pytest.mark.parametrize("state", [State.QUEUED, State.SCHEDULED, State.PARKED])
def test_an_expiry_that_left_the_agenda_is_entered_again(lab: Lab, state: State) -> None:
    lab.hello("p")
    lab.enqueue("a", expires_in_ms=HOUR_MS, delay_ms=HOUR_MS if state is State.SCHEDULED else 0)
    if state is State.PARKED:
        lab.park("p", lab.claim("p").tasks[0], "app.job")
    lab.redis("ZREM", lab.keys.agenda, "x:a")
    assert lab.state("a") is state

    assert mended_once(lab, "a")

    assert "x:a" in lab.agenda()


def test_what_is_well_is_left_alone(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("queued", "running", "failed", "parked", "tombstone")
    lab.enqueue("flagged", expires_in_ms=HOUR_MS, key="app.job:k")
    lab.enqueue("later", delay_ms=HOUR_MS)
    tasks = {task.id: task for task in lab.take("p", 4)}
    lab.settle("p", [tasks["failed"]], Kind.FAILED)
    lab.settle("p", [tasks["queued"]], Kind.RELEASED)
    lab.park("p", tasks["parked"], "app.job")
    lab.cancel("tombstone")
    before = lab.snapshot()

    assert lab.reconcile(*(name[2:] for name in lab.names("t:*")), "ghost") == 0

    assert lab.snapshot() == before


def test_what_is_no_record_goes_on_record_once_and_has_a_time(lab: Lab) -> None:
    lab.redis("SET", lab.keys.record("a"), "junk")
    lab.redis("RPUSH", lab.keys.record("b"), "junk")
    for _ in range(3):
        assert lab.reconcile("a", "b") == 0
    assert lab.quarantined() == [("record", "a"), ("record", "b")]
    assert min(lab.ttl("t:a"), lab.ttl("t:b")) > 24 * HOUR_MS


def mendable(keys: Keys) -> dict[str, str]:
    return {
        keys.agenda: "zset", keys.processes: "zset", keys.beats: "hash", keys.queues: "hash", keys.tasks: "hash",
        keys.recent: "stream", keys.quarantine: "stream", keys.limbo: "set", keys.prefix + "waits": "hash",
        keys.wake("default"): "list", keys.serves("default"): "set", keys.dead("default"): "zset",
        **dict.fromkeys(keys.lists("default"), "list"),
    }  # fmt: skip


def test_keys_of_a_wrong_type_are_set_aside_and_kept_for_a_while(lab: Lab) -> None:
    tails = [key.removeprefix(lab.keys.prefix) for key in mendable(lab.keys)]
    for tail in tails:
        lab.redis("SET", lab.keys.prefix + tail, "junk")

    assert sorted(lab.mend("default")) == sorted(tails)

    assert lab.mend("default") == []
    assert {tail for tail in tails if lab.redis("EXISTS", lab.keys.prefix + tail)} <= {"quarantine"}
    assert all(lab.redis("GET", f"{lab.keys.prefix}wrong:{tail}") == b"junk" for tail in tails)
    assert all(0 < lab.ttl(f"wrong:{tail}") <= 14 * 24 * HOUR_MS for tail in tails)
    assert ("type string", "agenda") in lab.quarantined()


def test_keys_of_their_own_type_are_left_alone(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b", expires_in_ms=HOUR_MS)
    lab.settle("p", lab.claim("p", 1).tasks, Kind.UNREADABLE)
    before = lab.snapshot()
    assert lab.mend("default") == []
    assert lab.snapshot() == before


def test_a_task_whose_list_had_a_wrong_type_waits_until_it_is_mended(lab: Lab, jumping_clock: None) -> None:
    lab.hello("p")
    lab.enqueue("released", "retried", "reaped")
    lab.enqueue("later", delay_ms=1_000)
    released, retried, _ = lab.take("p")
    lab.redis("SET", lab.keys.ready("default", 5), "junk")

    lab.settle("p", [released], Kind.RELEASED)
    lab.settle("p", [retried], Kind.RETRY, 1_000)
    lab.reap_all("p")
    lab.hello("q")
    for _ in range(3):
        lab.pass_time(20_000)
        assert lab.claim("q").tasks == []
    lab.mend("default")
    lab.pass_time(20_000)

    # One came back careful and is claimed alone; each came back once.
    assert sorted(ids(lab.take("q"))) == ["later", "reaped", "released", "retried"]
    assert lab.limbo() == set()


@pytest.mark.parametrize("tail", ["beats", "procs"])
def test_a_sweep_mends_what_it_reads_by(lab: Lab, tail: str) -> None:
    lab.redis("SET", lab.keys.prefix + tail, "garbage")

    Sweeper(lab.broker, 2_000, ["default"]).sweep((), 0.0)

    assert lab.redis("TYPE", lab.keys.prefix + tail) == b"none"
    lab.redis("DEL", f"{lab.keys.prefix}wrong:{tail}")


def test_a_sweep_takes_away_a_process_whose_name_is_no_text(lab: Lab) -> None:
    lab.redis("ZADD", lab.keys.processes, 1, b"\xff\xfe")
    sweeper = Sweeper(lab.broker, 1_000, ["default"])

    sweeper.sweep((), sweeper_began := time.monotonic())
    sweeper.sweep((), sweeper_began + 1.1)

    assert lab.redis("ZCARD", lab.keys.processes) == 0
