"""cancel: what waits never starts, what runs is asked to stop and never runs again."""

from __future__ import annotations

import pytest

from taskq.broker.commands.working import Answer, Kind
from taskq.record import State
from tests.engine import HOUR_MS, Lab, ids

pytestmark = pytest.mark.contract


def test_a_queued_task_that_is_cancelled_never_starts(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b")

    assert lab.cancel("a") is State.CANCELLED

    assert not lab.has_message("a")
    assert ids(lab.take("p")) == ["b"]
    assert lab.stats() == {"-|C": 1}
    assert lab.recent() == ["C a -"]


def test_its_tombstone_stays_until_its_list_has_passed_it(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.cancel("a", 1_000)
    assert lab.ttl("t:a") == -1
    assert not lab.enqueue("a")[0].created

    lab.claim("p")

    assert 0 < lab.ttl("t:a") <= 600_000
    assert not lab.enqueue("a")[0].created
    assert lab.claim("p").tasks == []


def test_a_given_back_task_that_is_cancelled_never_starts_again(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.settle("p", lab.claim("p").tasks, Kind.SUSPECT)
    assert lab.cancel("a") is State.CANCELLED
    assert lab.claim("p").tasks == []
    assert lab.ttl("t:a") > 0


@pytest.mark.parametrize("how", ["delayed", "retried"])
def test_a_scheduled_task_that_is_cancelled_never_starts(lab: Lab, how: str, jumping_clock: None) -> None:
    lab.hello("p")
    if how == "delayed":
        lab.enqueue("a", delay_ms=HOUR_MS, expires_in_ms=2 * HOUR_MS)
    else:
        lab.enqueue("a", expires_in_ms=2 * HOUR_MS)
        lab.settle("p", lab.claim("p").tasks, Kind.RETRY, HOUR_MS)

    assert lab.cancel("a", 90_000) is State.CANCELLED

    assert 80_000 < lab.ttl("t:a") <= 90_000
    assert lab.agenda() == {}
    lab.pass_time(3 * HOUR_MS)
    assert lab.claim("p").tasks == []
    assert lab.stats()["-|C"] == 1


def test_a_parked_task_that_is_cancelled_leaves_its_set(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.park("p", lab.claim("p").tasks[0], "app.job")
    assert lab.cancel("a") is State.CANCELLED
    assert lab.names("parked:*") == []
    assert lab.register("p", **{"app.job": "default"}) == 0
    assert lab.claim("p").tasks == []


def test_a_running_task_is_asked_to_stop_with_each_beat_of_its_process(lab: Lab) -> None:
    lab.hello("p", "q")
    lab.enqueue("a", "b")
    a, b = lab.take("p")

    assert lab.cancel("a") is State.RUNNING

    assert [beat.cancels for beat in lab.beat("p", "q")] == [{"a": a.g}, {}]
    assert lab.cancel("b") is State.RUNNING
    assert lab.beat("p")[0].cancels == {"a": a.g, "b": b.g}
    assert lab.state("a") is State.RUNNING
    assert lab.settle("p", [a], Kind.CANCELLED) == [Answer.COMMITTED]
    assert lab.state("a") is State.CANCELLED


def test_a_running_task_that_ends_by_itself_has_won(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b")
    a, b = lab.take("p")
    lab.cancel("a")
    lab.cancel("b")
    lab.settle("p", [a], Kind.SUCCEEDED)
    lab.settle("p", [b], Kind.FAILED)
    assert (lab.state("a"), lab.state("b")) == (State.SUCCEEDED, State.FAILED)
    assert lab.dead() == ["b"]


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.RELEASED, Kind.CRASHED, Kind.SUSPECT])
def test_a_cancelled_running_task_is_not_given_back(lab: Lab, kind: Kind) -> None:
    lab.hello("p")
    lab.enqueue("a", expires_in_ms=HOUR_MS, key="app.job:k")
    tasks = lab.claim("p").tasks
    lab.cancel("a")

    assert lab.settle("p", tasks, kind, 0) == [Answer.COMMITTED]

    assert lab.state("a") is State.CANCELLED
    assert lab.claim("p").tasks == []
    assert (lab.agenda(), lab.held("p"), lab.names("[xub]:*")) == ({}, {}, [])
    assert 0 < lab.ttl("t:a") <= 600_000


@pytest.mark.parametrize("beats", [0, None])
def test_a_cancelled_task_of_a_dead_process_is_not_given_back(lab: Lab, beats: int | None) -> None:
    lab.hello("p", "q")
    lab.enqueue("a")
    lab.claim("p")
    lab.cancel("a")
    lab.reap_all("p", beats)
    assert lab.state("a") is State.CANCELLED
    assert lab.claim("q").tasks == []
    assert lab.recent() == ["C a -"]


def test_a_cancelled_task_is_not_parked(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    task = lab.claim("p").tasks[0]
    lab.cancel("a")
    assert lab.park("p", task, "app.job") == "c"
    assert lab.state("a") is State.CANCELLED
    assert lab.names("parked:*") == []


def test_a_repeat_of_cancel_says_the_same(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("running", "queued")
    lab.enqueue("later", delay_ms=HOUR_MS)
    lab.claim("p", 1)
    first = {id: lab.cancel(id) for id in ("queued", "running", "later")}
    before = lab.snapshot()

    assert {id: lab.cancel(id) for id in ("queued", "running", "later")} == first

    assert first == {"queued": State.CANCELLED, "running": State.RUNNING, "later": State.CANCELLED}
    assert lab.snapshot() == before


@pytest.mark.parametrize("kind", [Kind.SUCCEEDED, Kind.FAILED, Kind.EXPIRED, Kind.CANCELLED])
def test_an_ended_task_stays_as_it_is(lab: Lab, kind: Kind) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.settle("p", lab.claim("p").tasks, kind)
    before = lab.snapshot()
    assert lab.cancel("a") is lab.state("a")
    assert lab.snapshot() == before


def test_nothing_is_known_of_an_unknown_id(lab: Lab) -> None:
    assert lab.cancel("ghost") is None
    assert lab.names("*ghost*") == []
