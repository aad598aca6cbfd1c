"""How many processes the work needs."""

from __future__ import annotations

from taskq.worker.autoscale import BUSY_S, IDLE_S, Autoscale


def ready() -> bool:
    return True


def nothing() -> bool:
    return False


def test_one_process_more_when_all_slots_were_busy_for_a_while_with_work_ready() -> None:
    scale = Autoscale(1, 3, concurrency=2)

    assert scale.look(2, ready, 100.0) == 1
    assert scale.look(2, ready, 100.0 + BUSY_S - 0.1) == 1
    assert scale.look(2, ready, 100.0 + BUSY_S) == 2
    assert scale.look(4, ready, 101.0 + BUSY_S) == 2  # the time begins anew


def test_a_free_slot_or_no_work_begins_the_time_anew() -> None:
    scale = Autoscale(1, 3, concurrency=2)

    scale.look(2, ready, 100.0)
    scale.look(1, ready, 101.0)
    assert scale.look(2, ready, 100.0 + BUSY_S) == 1
    scale.look(2, nothing, 101.0 + BUSY_S)
    assert scale.look(2, ready, 102.0 + 2 * BUSY_S) == 1


def test_never_more_than_the_most() -> None:
    scale = Autoscale(1, 2, concurrency=1)

    assert {scale.look(9, ready, 100.0 + second) for second in range(100)} == {1, 2}


def test_one_process_fewer_after_a_minute_with_slots_enough_but_never_below_the_least() -> None:
    scale = Autoscale(1, 2, concurrency=2)
    scale.look(2, ready, 100.0)
    assert scale.look(2, ready, 100.0 + BUSY_S) == 2

    assert scale.look(2, ready, 200.0) == 2
    assert scale.look(2, ready, 200.0 + IDLE_S - 1) == 2
    assert scale.look(2, ready, 200.0 + IDLE_S) == 1
    scale.look(0, nothing, 300.0)
    assert scale.look(0, nothing, 400.0 + IDLE_S) == 1
