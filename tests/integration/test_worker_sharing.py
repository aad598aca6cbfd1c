"""Who runs what, and when: priorities, queues, what is fetched ahead, what is due, and giving back."""

from __future__ import annotations

import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support import wait_until
from tests.workers import Yard

TWICE = pytest.mark.parametrize("a", ["", "a"], ids=["sync", "async"])
SLACK_S = 1.0
"""What a busy machine may add to a time that is bounded."""


def test_higher_priorities_come_first_and_each_in_the_order_of_its_coming(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        for number in range(10):
            for priority in (0, 5, 9, 4):
                yard.send("quick.tick", f"{priority}-{number}", priority=priority)
        worker = yard.worker("quick", concurrency=1)
        yard.ledger.wait("end", count=40)

        order = [entry.words[0] for entry in yard.ledger.starts()]

        assert order == [f"{priority}-{number}" for priority in (9, 5, 4, 0) for number in range(10)]
        assert worker.stop() == 0


def test_a_task_to_the_front_comes_before_its_priority(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        for word in ("first", "second"):
            yard.send("quick.tick", word)
        yard.send("quick.tick", "front", front=True)
        yard.worker("quick", concurrency=1)
        yard.ledger.wait("end", count=3)

        assert [entry.words[0] for entry in yard.ledger.starts()] == ["front", "first", "second"]


def test_a_later_queue_gets_no_slot_while_an_earlier_one_has_work(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        for queue, count in (("b", 20), ("a", 6)):
            yard.send_many("quick.hold", [(0.3, queue)] * count, queue=queue)
        yard.worker("quick", concurrency=8, queues=("a", "b"))
        yard.ledger.wait("start", count=8)

        assert [entry.words[0] for entry in yard.ledger.starts()][:8].count("a") == 6


def test_a_queue_that_is_not_named_is_not_served(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        other = yard.send("quick.tick", queue="other")
        yard.worker("quick", queues=("mine",))
        yard.send("quick.tick", queue="mine").result(timeout=10)

        assert not yard.ledger.starts(other.id)


def test_weighted_queues_share_and_none_starves(tmp_path: Path) -> None:
    """Three to one: of the first tasks that run, the heavy queue has about three quarters."""
    with Yard(tmp_path) as yard:
        for queue in ("light", "heavy"):
            yard.send_many("quick.hold", [(0.012, queue)] * 150, queue=queue)
        yard.worker("quick", concurrency=1, queues=("heavy", "light"), weights=(3, 1))
        yard.ledger.wait("end", count=100)

        first = [entry.words[0] for entry in yard.ledger.starts()][:100]

        # A binomial share of 0.75 over 100 draws lies within 0.55 and 0.95 but once in 200,000 runs.
        assert 55 <= first.count("heavy") <= 95


@TWICE
def test_quick_tasks_that_wait_behind_slow_ones_run_elsewhere_at_once(tmp_path: Path, a: str) -> None:
    """A process that fetched ahead is clogged; what waits there goes to the idle one, and does not go round."""
    with Yard(tmp_path) as yard:
        clogged = yard.worker("quick", concurrency=2)
        yard.wait_ended(yard.send_many(f"quick.{a}moody", [(0,)] * 100))
        with clogged.paused():
            slow = yard.send_many(f"quick.{a}moody", [(3,), (3,)])
            quick = yard.send_many(f"quick.{a}moody", [(0,)] * 40)
        for handle in slow:
            yard.ledger.wait("start", handle.id)
        clogged_at = time.monotonic()
        idle = yard.worker("quick", concurrency=2)
        started = time.monotonic()

        assert yard.wait_ended(quick) == {"succeeded": 40}
        assert time.monotonic() - started < 0.2 + SLACK_S
        assert {entry.pid for handle in quick for entry in yard.ledger.starts(handle.id)} <= {
            *idle.children()
        }
        assert not [handle for handle in slow if yard.ledger.ends(handle.id)]
        assert time.monotonic() - clogged_at < 3, "the slow ones should still have run"
        # Each was given back once or twice on its way, not passed round and round.
        assert yard.stats()["L"] <= 2 * 40
        assert set(yard.ledger.counts().values()) == {1}
        for worker in (clogged, idle):
            assert worker.stop() == 0
        assert yard.leftovers() == []


def test_what_is_given_back_to_nobody_waits_and_does_not_go_round(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick", concurrency=2)
        yard.wait_ended(yard.send_many("quick.moody", [(0,)] * 100))
        with worker.paused():
            slow = yard.send_many("quick.moody", [(1.5,), (1.5,)])
            quick = yard.send_many("quick.moody", [(0,)] * 40)

        assert yard.wait_ended([*slow, *quick]) == {"succeeded": 42}
        assert yard.stats()["L"] <= 2 * 40
        assert set(yard.ledger.counts().values()) == {1}
        assert worker.stop() == 0


@TWICE
def test_no_task_waits_behind_a_long_one_while_a_process_idles(tmp_path: Path, a: str) -> None:
    """Long tasks are known to be long: they are claimed one a slot, so the second process has its share."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick", concurrency=2, processes=2)
        yard.wait_ended(yard.send_many(f"quick.{a}hold", [(0.05,)] * 8))
        sent = time.monotonic()
        handles = yard.send_many(f"quick.{a}hold", [(1,)] * 4)

        yard.wait_ended(handles)

        starts = [entry for handle in handles for entry in yard.ledger.starts(handle.id)]
        assert len(starts) == 4
        assert max(entry.at for entry in starts) - sent < 0.1 + 0.5
        assert {entry.pid for entry in starts} == {*worker.children()}


def test_a_careful_task_does_not_wait_in_a_process_that_is_busy_for_long(tmp_path: Path) -> None:
    """It runs alone, so a process with a long task cannot start it; then it belongs to one that can."""
    with Yard(tmp_path) as yard:
        victim = yard.worker("quick", concurrency=4, queues=("suspects",))
        suspects = [yard.send("quick.hold", 1.5, queue="suspects") for _ in range(3)]
        yard.ledger.wait("start", count=3)
        busy = yard.worker("quick", concurrency=4, queues=("long", "suspects"))
        long = yard.send("quick.hold", 16, queue="long")
        yard.ledger.wait("start", long.id)
        os.kill(victim.children()[0], signal.SIGKILL)
        victim.stop()
        wait_until(lambda: yard.stats()["K"] == 3)
        idle = yard.worker("quick", concurrency=4, queues=("suspects",))

        assert yard.wait_ended(suspects, timeout=12) == {"succeeded": 3}
        quick = yard.send("quick.tick", queue="suspects")
        quick.result(timeout=2)
        assert not yard.ledger.ends(long.id)
        assert busy.running()
        assert idle.running()


@TWICE
def test_a_task_that_falls_due_starts_on_time_in_an_idle_worker(tmp_path: Path, a: str) -> None:
    with Yard(tmp_path) as yard:
        yard.worker("quick", processes=2)
        for delay in (0.3, 0.7, 0.31):
            sent = time.monotonic()
            handle = yard.send(f"quick.{a}tick", delay=delay)
            [start] = yard.ledger.wait("start", handle.id)
            assert delay - 0.002 <= start.at - sent < delay + SLACK_S


def test_tasks_that_fall_due_start_in_their_order(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        yard.worker("quick", concurrency=1)
        delays = [0.9, 0.3, 0.6, 0.45, 0.75]
        sent = {yard.send("quick.tick", delay=delay).id: delay for delay in delays}
        yard.ledger.wait("start", count=5)

        order = [sent[entry.id] for entry in yard.ledger.starts()]
        assert order == sorted(delays)
        assert all(one.at < other.at for one, other in pairwise(yard.ledger.starts()))


def test_many_processes_that_idle_share_a_burst(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick", processes=4, concurrency=1)
        handles = yard.send_many("quick.hold", [(0.3,)] * 4)

        yard.wait_ended(handles)
        starts = yard.ledger.starts()
        assert {entry.pid for entry in starts} == {*worker.children()}
        assert max(entry.at for entry in starts) - min(entry.at for entry in starts) < 0.3
