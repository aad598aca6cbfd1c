"""Tasks with a process of their own: what they do to themselves happens to nobody else."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from operator import le
from pathlib import Path
from typing import Any

import psutil
import pytest

from taskq import ResultNotStored, TaskCancelled, TaskFailed, TaskHandle
from tests.support import wait_until
from tests.workers import Entry, Worker, Yard

KILL_AFTER_S = 0.5
TWICE = pytest.mark.parametrize("a", ["", "a"], ids=["sync", "async"])
WAYS = ["exit", "clean", "kill", "segv", "abort"]


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with Yard(tmp_path_factory.mktemp("isolated")) as yard:
        yield yard


@pytest.fixture(scope="module")
def worker(yard: Yard) -> Iterator[Worker]:
    """One worker process for the whole module, whatever the tests do: it is the same at the end."""
    worker = yard.worker("isolated", kill_after_ms=round(KILL_AFTER_S * 1_000))
    [child] = worker.children()
    yield worker
    assert worker.children() == [child]
    assert worker.stop() == 0
    assert yard.leftovers() == []


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def wait_gone(*pids: int, timeout: float = 5) -> None:
    wait_until(lambda: not any(map(alive, pids)), timeout, lambda: f"{pids} to be gone")


def server_of(child: int) -> int:
    """The fork server below a worker process."""
    [server] = psutil.Process(child).children()
    return int(server.pid)


def started(yard: Yard, handle: TaskHandle[Any]) -> tuple[Entry, int]:
    """The start of a run of `endless`, and the process that it has started."""
    [entry] = yard.ledger.wait("started", handle.id)
    return entry, int(entry.words[0])


# -- where it runs


@TWICE
def test_each_run_has_a_process_of_its_own_below_the_same_server(yard: Yard, worker: Worker, a: str) -> None:
    runs = [yard.send(f"isolated.{a}where").result(timeout=10) for _ in range(3)]

    [child] = worker.children()
    assert len({pid for pid, _ in runs}) == 3
    assert {parent for _, parent in runs} == {server_of(child)}
    wait_gone(*(pid for pid, _ in runs))


def test_a_run_knows_its_task_and_holds_nothing_of_the_worker(yard: Yard, worker: Worker) -> None:
    handle = yard.send("isolated.tell", headers={"tenant": "a"})
    told = handle.result(timeout=10)

    assert (told["id"], told["attempt"], told["headers"]) == (handle.id, 1, {"tenant": "a"})
    assert told["fence"] > 0
    assert (told["threads"], told["main"]) == (1, True)
    log = str(worker.path)
    kinds = [name.partition(":")[0] for name in told["descriptors"]]
    assert kinds == sorted(["/dev/null", log, log, "socket", "pipe"]), "nothing but the line and the leash"
    [line] = worker.says("said by the task")
    assert line["task_id"] == handle.id
    wait_until(lambda: worker.says("printed by the task"))
    assert len(worker.says("printed by the task")) == 1


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        2**70,
        "text",
        b"bytes",
        [1, {"a": (2,)}],
        {"d": date(2026, 1, 2)},
        Decimal("1.5"),
        "x" * 3_000_000,
    ],
    ids=lambda value: str(value)[:12],
)
def test_arguments_and_results_arrive_as_from_any_task(yard: Yard, worker: Worker, value: Any) -> None:
    assert yard.send("isolated.give", value).result(timeout=10) == value


def test_a_run_may_enqueue_over_connections_of_its_own(yard: Yard, worker: Worker) -> None:
    ids = yard.send("isolated.send_more", 3).result(timeout=10)

    handles = [yard.app.handle(id) for id in ids]
    assert yard.wait_ended(handles) == {"succeeded": 3}


# -- its failures


def test_failures_retries_and_rejections_are_as_of_any_task(yard: Yard, worker: Worker) -> None:
    assert yard.send("isolated.fail", "error").result(timeout=10) == 3
    assert yard.send("isolated.fail", "retry").result(timeout=10) == 2
    rejected = yard.send("isolated.fail", "reject")
    with pytest.raises(TaskFailed, match="never") as caught:
        rejected.result(timeout=10)
    assert caught.value.type == "taskq.retry.Reject"
    assert "in fail" in caught.value.traceback
    assert len(yard.ledger.starts(rejected.id)) == 1
    with pytest.raises(TaskFailed, match="enough") as left:
        yard.send("isolated.fail", "exit", max_retries=0).result(timeout=10)
    assert left.value.type == "SystemExit"
    assert worker.says(f"{rejected.id} failed for good in attempt 1: Reject: never")


def test_secrets_are_masked_in_its_errors_and_logs(yard: Yard, worker: Worker) -> None:
    handle = yard.send("isolated.fail", "secret", "hunter2hunter2")

    with pytest.raises(TaskFailed) as caught:
        handle.result(timeout=10)
    assert "logged in with" in str(caught.value)
    assert "hunter2" not in str(caught.value) + caught.value.traceback + worker.path.read_text()


def test_it_acknowledges_by_hand_and_at_its_start(yard: Yard, worker: Worker) -> None:
    acked, early = yard.send("isolated.by_hand", "ack"), yard.send("isolated.early")
    for handle in (acked, early):
        with pytest.raises(ResultNotStored):
            handle.result(timeout=10)
    yard.send("isolated.by_hand", "nack")
    yard.ledger.wait("end", count=1)

    wait_until(lambda: len(worker.says("ended by signal SIGSEGV")) == 2)
    assert len(yard.ledger.starts(acked.id)) == len(yard.ledger.starts(early.id)) == 1


# -- its death


@pytest.mark.parametrize("way", WAYS)
@TWICE
def test_a_run_that_dies_is_a_crash_of_its_task_alone(yard: Yard, worker: Worker, way: str, a: str) -> None:
    before = worker.children()
    neighbours = [yard.send("isolated.beside", 0.5) for _ in range(2)]
    yard.ledger.wait("start", neighbours[-1].id)
    handle = yard.send(f"isolated.{a}crash", way)

    how = {"exit": "exit code 7", "clean": "exit code 0"}.get(way, f"signal SIG{way.upper()}")
    how = how.replace("SIGABORT", "SIGABRT")
    with pytest.raises(TaskFailed, match=rf"ended (with|by) {how}; its processes died 2 times") as caught:
        handle.result(timeout=10)
    assert caught.value.type == "taskq.errors.CrashedTooOften"
    assert [entry.attempt for entry in yard.ledger.starts(handle.id)] == [1, 2]
    assert {one.result(timeout=10) for one in neighbours} == set(before)
    assert [len(yard.ledger.starts(one.id)) for one in neighbours] == [1, 1]
    assert len(worker.says(f"{handle.id}: its process")) == 2


def test_a_run_that_speaks_nonsense_to_the_worker_has_crashed(yard: Yard, worker: Worker) -> None:
    handle = yard.send("isolated.babble")

    with pytest.raises(TaskFailed, match="ended by signal SIGKILL"):
        handle.result(timeout=10)
    [start] = yard.ledger.starts(handle.id)
    wait_gone(start.pid)
    assert yard.send("isolated.give", "whole").result(timeout=10) == "whole", (
        "what it wrote reached another run"
    )


def test_where_no_process_can_be_made_the_task_fails_and_is_retried(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("cramped")
        handle = yard.send("cramped.attempt")

        assert handle.result(timeout=10) == 2
        [line] = worker.says("failed in attempt 1")
        assert "no process could be made for the task: Resource temporarily" in line["message"]
        assert worker.stop() == 0


@pytest.mark.parametrize("how", ["piece", "pieces"])
def test_a_run_that_takes_too_much_memory_fails(yard: Yard, worker: Worker, how: str) -> None:
    with pytest.raises(TaskFailed) as caught:
        yard.send("isolated.hoard", how).result(timeout=20)

    assert caught.value.type == "MemoryError"
    assert "in hoard" in caught.value.traceback


def test_a_run_may_go_on_after_it_was_refused_memory(yard: Yard, worker: Worker) -> None:
    assert yard.send("isolated.hoard", "caught").result(timeout=10) == "went on with 20 MB"


# -- its time


def test_a_run_stuck_in_c_code_is_killed_at_its_timeout_and_fails_as_any_that_is_late(
    yard: Yard, worker: Worker
) -> None:
    neighbour = yard.send("isolated.beside", 3)
    yard.ledger.wait("start", neighbour.id)
    handle = yard.send("isolated.in_c")

    with pytest.raises(TaskFailed, match=r"did not end within its timeout of 0\.4 s") as caught:
        handle.result(timeout=15)
    assert caught.value.type == "taskq.errors.TaskTimeout"
    first, second = yard.ledger.starts(handle.id)  # a retry: a failure, no crash
    assert (first.attempt, second.attempt) == (1, 2)
    assert 0.4 + KILL_AFTER_S - 0.2 < second.at - first.at < 0.4 + KILL_AFTER_S + 1.5
    wait_gone(first.pid, second.pid)
    assert [neighbour.result(timeout=10)] == worker.children()


@pytest.mark.parametrize("task", ["asleep", "awaiting"])
def test_a_timeout_is_raised_in_what_waits_for_the_system(yard: Yard, worker: Worker, task: str) -> None:
    handle = yard.send(f"isolated.{task}")

    with pytest.raises(TaskFailed, match=r"did not end within its timeout of 0\.4 s"):
        handle.result(timeout=10)
    left = yard.ledger.entries("left", handle.id)
    assert len(left) == 2
    for start, end in zip(yard.ledger.starts(handle.id), left, strict=True):
        assert end.at - start.at < 0.4 + KILL_AFTER_S


@TWICE
def test_a_soft_timeout_can_be_caught_and_cleaned_up_after(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"isolated.{a}soft", True)

    assert handle.result(timeout=10) == "cleaned up"
    [start], [soft] = yard.ledger.starts(handle.id), yard.ledger.entries("soft", handle.id)
    assert 0.2 < soft.at - start.at < 1.3
    with pytest.raises(TaskFailed) as caught:
        yard.send(f"isolated.{a}soft", False).result(timeout=10)
    assert caught.value.type == "taskq.errors.SoftTimeout"


def test_a_timeout_is_kept_though_another_task_holds_up_the_worker_process(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("isolated", kill_after_ms=300)
        late = yard.send("isolated.in_c", max_retries=0)
        hog = yard.send("isolated.hog", 4)
        [start], [hold] = yard.ledger.wait("start", late.id), yard.ledger.wait("start", hog.id)

        wait_gone(start.pid)
        assert time.monotonic() - start.at < 3
        assert not yard.ledger.ends(hog.id), "the interpreter was to be held all the time"
        with pytest.raises(TaskFailed, match="timeout of"):
            late.result(timeout=10)
        assert hog.result(timeout=10) == hold.pid
        assert worker.stop() == 0


# -- its cancellation


@pytest.mark.parametrize("how", ["asleep", "in C", "stubborn"])
def test_a_run_that_is_cancelled_ends_with_all_that_it_started(yard: Yard, worker: Worker, how: str) -> None:
    handle = yard.send("isolated.endless", how)
    run, below = started(yard, handle)

    asked = time.monotonic()
    handle.cancel()
    with pytest.raises(TaskCancelled):
        handle.result(timeout=10)
    assert time.monotonic() - asked < 1 + KILL_AFTER_S + 1.5  # the next beat brings it
    wait_gone(run.pid, below)
    assert len(yard.ledger.starts(handle.id)) == 1
    words = [
        entry.words for entry in yard.ledger.entries(id=handle.id) if entry.event in ("left", "swallowed")
    ]
    assert words == ([] if how == "in C" else [("CancelRequested",)])


def test_an_async_run_that_is_cancelled_hears_of_it_as_any_does(yard: Yard, worker: Worker) -> None:
    handle = yard.send("isolated.aendless")
    yard.ledger.wait("start", handle.id)

    handle.cancel()
    with pytest.raises(TaskCancelled):
        handle.result(timeout=10)
    assert [entry.words for entry in yard.ledger.entries("left", handle.id)] == [("CancelledError",)]


# -- what a process sets up


@TWICE
def test_hooks_and_lifespan_run_in_the_process_of_the_run(tmp_path: Path, a: str) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("tests.apps.isolated:lived")
        [child] = worker.children()
        handle = yard.send(f"isolated.{a}state")
        pid, state = handle.result(timeout=10)

        assert state == f"state-of-{pid}"
        assert pid != child
        wait_gone(pid)
        events = [entry.event for entry in yard.ledger.entries() if entry.pid == pid]
        assert events == ["process-start", "entered", "before", "after", "exited", "process-stop"]
        assert worker.stop() == 0
        events = [entry.event for entry in yard.ledger.entries() if entry.pid == child]
        assert events == ["process-start", "entered", "exited", "process-stop"]


def test_of_a_run_that_died_the_worker_process_tells_the_hooks(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("tests.apps.isolated:lived")
        handle = yard.send("isolated.die_there")

        assert yard.wait_ended([handle]) == {"failed": 1}
        [failure] = yard.ledger.wait("failure", handle.id)
        assert failure.words == ("CrashedTooOften",)
        assert [failure.pid] == worker.children()
        assert worker.stop() == 0


# -- who dies with whom


def test_a_run_whose_worker_process_was_killed_ends_at_once_and_runs_again_uncharged(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("isolated", kill_after_ms=300)
        [child] = worker.children()
        server = server_of(child)
        handle = yard.send("isolated.endless", "in C")
        run, below = started(yard, handle)

        os.kill(child, signal.SIGKILL)
        wait_gone(run.pid, below, server, timeout=1)
        [_, again] = yard.ledger.wait("start", handle.id, count=2)

        assert again.attempt == 1, "it cannot have killed that process"
        handle.cancel()
        assert yard.wait_ended([handle]) == {"cancelled": 1}
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_what_a_neighbour_has_forked_keeps_no_run_alive(tmp_path: Path) -> None:
    """It has a copy of all that the worker process held, which must not look as if that lived."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("isolated", kill_after_ms=300)
        [child] = worker.children()
        server = server_of(child)
        handle = yard.send("isolated.endless", "in C")
        run, _ = started(yard, handle)
        stray = yard.send("isolated.leave_a_fork").result(timeout=10)

        os.kill(child, signal.SIGKILL)
        wait_gone(run.pid, server, timeout=2)
        assert alive(stray)
        os.kill(stray, signal.SIGKILL)
        handle.cancel()
        yard.wait_ended([handle])
        assert worker.stop() == 0


def test_when_a_whole_worker_is_killed_no_run_lives_on(tmp_path: Path) -> None:
    """Supervisor, worker process and fork server in one moment: nobody is left who could kill the run."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("isolated", kill_after_ms=300)
        [child] = worker.children()
        server = server_of(child)
        handle = yard.send("isolated.endless", "in C")
        run, below = started(yard, handle)
        assert os.getpgid(run.pid) == run.pid, "the group's kill must not reach it"
        assert os.getpgid(server) == worker.pid

        worker.send_all(signal.SIGKILL)
        wait_gone(run.pid, server, child, worker.pid, timeout=2)
        os.kill(below, signal.SIGKILL)


def test_when_the_supervisor_is_killed_its_runs_end_within_the_grace(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("isolated", kill_after_ms=300, grace_ms=500)
        [child] = worker.children()
        server = server_of(child)
        handle = yard.send("isolated.endless", "in C")
        run, below = started(yard, handle)

        os.kill(worker.pid, signal.SIGKILL)
        wait_gone(run.pid, below, server, child, timeout=5)
        assert handle.status().value == "queued"


@pytest.mark.parametrize("runs", [1, 2])
def test_a_fork_server_that_was_killed_is_replaced_with_its_worker_process(tmp_path: Path, runs: int) -> None:
    """Of several runs none is charged, as when a worker process dies."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("isolated", kill_after_ms=300)
        [child] = worker.children()
        server = server_of(child)
        handles = [yard.send("isolated.nap", 1.5) for _ in range(runs)]
        first = yard.ledger.wait("start", count=runs)

        os.kill(server, signal.SIGKILL)
        wait_gone(*(entry.pid for entry in first), child)

        assert yard.wait_ended(handles, timeout=20) == {"succeeded": runs}
        assert {handle.result() for handle in handles} == {2 if runs == 1 else 1}
        [line] = worker.says("this process has to end")
        assert "the fork server of the isolated tasks is gone" in line["traceback"]
        assert len(worker.children()) == 1
        assert worker.stop() == 0
        assert yard.leftovers() == []


# -- stopping


def test_a_run_ends_within_the_grace_whoever_gets_the_signals(tmp_path: Path) -> None:
    """As systemd and a terminal send them: to every process at once."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("isolated", kill_after_ms=300)
        handle = yard.send("isolated.nap", 1.5)
        [start] = yard.ledger.wait("start", handle.id)
        everyone = [worker.pid, *(one.pid for one in psutil.Process(worker.pid).children(recursive=True))]
        assert start.pid in everyone
        assert len(everyone) == 4

        for pid in everyone:
            os.kill(pid, signal.SIGTERM)

        assert worker.wait() == 0
        assert handle.result(timeout=1) == 1
        wait_gone(*everyone)


def test_a_run_that_outlasts_the_grace_goes_back_uncharged(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("isolated", kill_after_ms=300, grace_ms=300)
        handle = yard.send("isolated.endless", "in C")
        run, below = started(yard, handle)

        assert worker.stop() == 0
        wait_gone(run.pid, below)
        assert handle.status().value == "queued"
        assert handle.info().crashes == 0
        handle.cancel()
        assert not worker.says("crash 1 of")


# -- nothing piles up


def test_nothing_piles_up_over_many_runs(yard: Yard, worker: Worker) -> None:
    [child] = worker.children()
    watched = [psutil.Process(child), psutil.Process(server_of(child))]

    def open_there() -> list[int]:
        return [count for one in watched for count in (one.num_fds(), one.num_threads())]

    yard.wait_ended(yard.send_many("isolated.where", [()] * 20), timeout=30)
    before = open_there()
    calls = [(way,) for way in ("exit", "segv")] * 10
    handles = yard.send_many("isolated.where", [()] * 250) + yard.send_many("isolated.crash", calls)
    yard.wait_ended(handles, timeout=50)

    wait_until(lambda: not watched[1].children(), message="all runs to be waited for, zombies too")
    wait_until(
        lambda: all(map(le, open_there(), before)), message=lambda: f"{open_there()} to fall to {before}"
    )


@TWICE
def test_a_run_that_has_its_outcome_does_not_keep_its_slot(tmp_path: Path, a: str) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("tests.apps.isolated:lived", kill_after_ms=300, concurrency=1)
        first, second = (yard.send(f"isolated.{a}linger") for _ in range(2))

        assert (first.result(timeout=10), second.result(timeout=10)) == ("done", "done")
        one, two = yard.ledger.wait("end", count=2)
        wait_gone(one.pid, two.pid)
        assert two.at - one.at > 0.3
        assert yard.ledger.counts() == {first.id: 1, second.id: 1}
        assert worker.stop() == 0
