"""An idle process has a claim waiting behind its BLPOP: what becomes of the task that the server gives it.

It may be given while nobody reads: the process stands still, or its connection is gone.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from redis import Redis

from taskq import State, TaskHandle
from taskq.broker.commands import working
from taskq.broker.connect import parse_url
from taskq.worker.link import Link
from tests.engine import Lab
from tests.proxy import Fate, Proxy, Words, all_pass, names
from tests.servers import RedisServer
from tests.support import wait_until
from tests.workers import LEASE_S, Worker, Yard


@pytest.fixture
def yard(tmp_path: Path) -> Generator[Yard]:
    """Its workers end in good order after each test, and leave nothing."""
    with Yard(tmp_path) as yard:
        yield yard
        for worker in yard.workers:
            assert (worker.stop() if worker.running() else worker.wait()) == 0
        assert yard.leftovers() == []


def idle_worker(yard: Yard, **config: Any) -> Worker:
    """Start a worker, and wait until the server has just blocked its process, which takes at least 1.6 s from then."""
    worker = yard.worker("deadly", **config)
    yard.wait_ended([yard.send("deadly.work", 0)])
    with yard.server.client() as client:
        wait_until(lambda: cast("dict[str, int]", client.info("clients"))["blocked_clients"] == 1)
    return worker


def stand_still(child: int) -> None:
    """Stop a process. The signal takes effect once one of its threads has run, and another may do so before."""
    os.kill(child, signal.SIGSTOP)
    wait_until(lambda: psutil.Process(child).status() == psutil.STATUS_STOPPED, message="the child to stop")


def given_to(yard: Yard, handle: TaskHandle[object], process: str) -> None:
    """Wait until the server has given the task to this process."""

    def given() -> bool:
        return handle.status() is State.RUNNING and handle.info().process == process

    wait_until(given, message=lambda: f"{process} to be given the task: {handle.info()}")


def is_claim_behind(words: Words) -> bool:
    """True for the claim of one task by a worker that has several slots."""
    return names(words, "claim") and words[6] == b"1"


def test_what_is_given_to_an_idle_process_that_stands_still_runs_elsewhere(yard: Yard) -> None:
    stopped = idle_worker(yard)
    [process], [child] = [one.id for one in yard.processes(stopped)], stopped.children()
    stand_still(child)
    handle = yard.send("deadly.work", 0)
    given_to(yard, handle, process)
    began = time.monotonic()
    other = yard.worker("deadly")

    assert handle.result(timeout=10) == 1
    assert time.monotonic() - began < LEASE_S / 2 + 3
    os.kill(child, signal.SIGCONT)
    assert yard.send("deadly.work", 0).result(timeout=10) == 1
    assert [start.pid for start in yard.ledger.starts(handle.id)] == other.children()


def test_so_does_what_it_is_given_after_the_supervisor_has_returned_all(yard: Yard) -> None:
    """Its claim may stay behind the BLPOP until then: another claim of its name stands for that one here."""
    stopped = idle_worker(yard)
    [process], [child] = [one.id for one in yard.processes(stopped)], stopped.children()
    stand_still(child)
    wait_until(lambda: stopped.says("does not answer"), message="the supervisor to note it")
    keys = yard.app.broker.keys[0]
    late = working.claim(keys, process, 99, 1, working.claim_words(keys, ["default"]))

    handle = yard.send("deadly.work", 0)
    yard.app.broker.call(late)

    wait_until(lambda: handle.status() is State.QUEUED, message="the task to go back")
    os.kill(child, signal.SIGKILL)
    assert handle.result(timeout=10) == 1


def test_a_process_that_was_paused_past_its_lease_starts_nothing_of_what_it_was_given(yard: Yard) -> None:
    paused = idle_worker(yard)
    [process] = [one.id for one in yard.processes(paused)]
    with paused.paused():
        handle = yard.send("deadly.work", 0)
        given_to(yard, handle, process)
        other = yard.worker("deadly")
        assert handle.result(timeout=20) == 1
        where = other.children()
    yard.wait_ready(paused)

    assert yard.wait_ended(yard.send_many("deadly.work", [(0,)] * 20)) == {"succeeded": 20}
    assert [start.pid for start in yard.ledger.starts(handle.id)] == where


@pytest.mark.parametrize("fate", [Fate.LOSE_COMMAND, Fate.LOSE_REPLY])
def test_a_claim_behind_a_blpop_may_be_lost_and_so_may_its_reply(yard: Yard, fate: Fate) -> None:
    with Proxy(yard.server.port) as proxy:
        worker = idle_worker(yard, url=proxy.url, concurrency=4)
        proxy.judge = lambda words: fate if is_claim_behind(words) else Fate.PASS

        handle = yard.send("deadly.work", 0)

        assert handle.result(timeout=10) == 1
        assert proxy.lost[fate] >= 1
        proxy.judge = all_pass
        assert len(yard.ledger.starts(handle.id)) == 1
        assert worker.stop() == 0


def test_what_expires_while_its_process_stands_still_is_not_started(yard: Yard) -> None:
    """The reply of the claim has lain there meanwhile, and says what time it was then."""
    worker = idle_worker(yard)
    [process], [child] = [one.id for one in yard.processes(worker)], worker.children()
    stand_still(child)
    handle = yard.send("deadly.work", 0, expires=0.5)
    given_to(yard, handle, process)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() > begun + 0.7)
    os.kill(child, signal.SIGCONT)

    assert yard.wait_ended([handle]) == {"expired": 1}
    assert yard.ledger.starts(handle.id) == []


def test_what_falls_due_after_its_process_stood_still_is_not_late(yard: Yard) -> None:
    worker = idle_worker(yard)
    [child] = worker.children()
    stand_still(child)
    begun = time.monotonic()
    handle = yard.send("deadly.work", 0, delay=1.5)
    wait_until(lambda: time.monotonic() > begun + 1.4)
    os.kill(child, signal.SIGCONT)

    assert handle.result(timeout=10) == 1
    assert time.monotonic() - begun < 1.5 + 0.7, "it was due 100 ms after the process went on"


def test_a_process_that_is_held_up_by_its_task_takes_no_other_from_an_idle_neighbour(yard: Yard) -> None:
    # With this lease, their supervisors return nothing before `hold` has ended.
    for _ in range(2):
        yard.worker("deadly", concurrency=2, lease_ms=20_000)
    held = yard.send("deadly.hold", 0.3, 3.0)
    yard.ledger.wait("start", held.id)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() > begun + 0.5)

    quick = [yard.send("deadly.work", 0) for _ in range(3)]

    assert yard.wait_ended(quick, timeout=2) == {"succeeded": 3}
    assert held.status() is State.RUNNING
    yard.wait_ended([held])


def test_a_token_list_of_a_wrong_type_costs_no_connection(lab: Lab, server: RedisServer) -> None:
    link = Link(parse_url(server.url), lab.keys, ["default"])
    link.open()
    wake = lab.keys.wake("default")
    lab.redis("SET", wake, "no list")

    link.block()
    assert link.token() == (None, None)

    lab.redis("DEL", wake)
    lab.redis("RPUSH", wake, "1")
    link.block()
    assert link.token() == ("default", None)
    link.close()


def test_a_server_that_has_forgotten_its_scripts_is_asked_again(yard: Yard) -> None:
    idle_worker(yard)
    for _ in range(3):
        yard.server.call("SCRIPT", "FLUSH")

        handle = yard.send("deadly.work", 0)

        assert handle.result(timeout=10) == 1
        assert len(yard.ledger.starts(handle.id)) == 1


def test_what_falls_due_while_a_claim_waits_runs_once_and_so_does_what_comes_next(yard: Yard) -> None:
    """The timer's claim has the same seq as the one that waits, which then repeats it, or comes too late."""
    worker = idle_worker(yard, concurrency=4)
    handles: list[TaskHandle[object]] = []
    for _ in range(3):
        long = yard.send("deadly.work", 0.3, delay=0.1)
        yard.ledger.wait("start", long.id)
        handles += [long, *yard.send_many("deadly.work", [(0,)] * 5), yard.send("deadly.awork", 0)]

        assert yard.wait_ended(handles) == {"succeeded": len(handles)}

    assert {len(yard.ledger.starts(handle.id)) for handle in handles} == {1}
    assert not worker.says(" was lost")


def waits_for_tokens(client: Redis) -> bool:
    """True while a worker blocks on this server; so may who asked for a result that has come meanwhile."""
    return any(one["cmd"] == "blpop" and "b" in one["flags"] for one in client.client_list())


def test_who_was_given_the_last_task_asks_for_no_more(yard: Yard) -> None:
    """The claim that gave it said so; what comes later leaves a token. A task that takes longer is asked after."""
    limits: list[bytes] = []

    def note(words: Words) -> Fate:
        if names(words, "claim"):
            limits.append(words[6])
        return Fate.PASS

    with Proxy(yard.server.port) as proxy, yard.server.client() as client:
        worker = idle_worker(yard, url=proxy.url, concurrency=4)
        proxy.judge = note
        rounds: list[set[bytes]] = []
        for _ in range(20):
            limits.clear()
            assert yard.send("deadly.work", 0).result(timeout=10) == 1
            wait_until(lambda: waits_for_tokens(client))
            rounds.append(set(limits))

        assert {b"1"} in rounds
        assert worker.stop() == 0


def test_what_comes_with_the_last_task_and_is_due_soon_is_not_late(yard: Yard) -> None:
    """One token stands for both, and the claim that gives the one is the only one to tell of the other."""
    idle_worker(yard)
    work = yard.app.named("tests.tests.apps.deadly.work", "default")
    for _ in range(3):
        ready, due = work.call(0), work.using(delay=0.3).call(0)
        began = time.monotonic()
        handles = [sent.get() for sent in work.enqueue_many([ready, due])]

        assert yard.wait_ended(handles) == {"succeeded": 2}
        # A process that does not know of it looks after 1.6 s at the earliest.
        assert time.monotonic() - began < 1.2


def test_a_process_that_stops_keeps_no_task_from_an_idle_neighbour(yard: Yard) -> None:
    """It still waits for a token, and was the first to: it is given one that it has no use for."""
    stops = yard.worker("deadly", concurrency=2)
    long = yard.send("deadly.work", 3.0)
    yard.ledger.wait("start", long.id)
    yard.worker("deadly", concurrency=2)
    with yard.server.client() as client:
        wait_until(lambda: cast("dict[str, int]", client.info("clients"))["blocked_clients"] == 2)
    stops.send(signal.SIGTERM)
    wait_until(lambda: stops.says("stopping: "), message="the supervisor to stop it")
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() > begun + 0.1)

    handle = yard.send("deadly.work", 0)

    # The neighbour looks by itself after 1.6 s at the earliest, and has just begun to wait.
    assert handle.result(timeout=10) == 1
    assert time.monotonic() - begun < 1.2
    assert stops.wait() == 0
    assert long.status() is State.SUCCEEDED


def test_a_worker_that_stops_while_tasks_come_leaves_none_behind(yard: Yard) -> None:
    for _ in range(5):
        worker = idle_worker(yard)
        long = yard.send("deadly.work", 0.3)
        yard.ledger.wait("start", long.id)
        worker.send(signal.SIGTERM)
        handle = yard.send("deadly.work", 0)
        assert worker.wait() == 0

        assert long.status() is State.SUCCEEDED
        assert handle.status() in (State.QUEUED, State.SUCCEEDED)

    yard.worker("deadly")
    assert yard.send("deadly.work", 0).result(timeout=10) == 1
