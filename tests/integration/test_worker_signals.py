"""What a worker does when it is told to stop, to stop at once, or to take new code."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from taskq import State, TaskHandle
from tests.support import wait_until
from tests.workers import Yard

MODULE = """
import time
from taskq import TaskQ, current_task
from tests.apps.ledger import note, write

app = TaskQ("tests")
write("import", "-", 0)
time.sleep(0.2)
write("imported", "-", 0)

@app.task(name="tests.tests.apps.own.version")
def version(seconds=0.0):
    note("start")
    time.sleep(seconds)
    return {version}
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_worker_that_is_to_stop_gives_back_what_it_has_not_started_and_ends_what_runs(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=2)
        running = [yard.send(f"deadly.{task}", 1.5) for task in ("work", "awork")]
        yard.ledger.wait("start", count=2)
        worker.send(number)
        told = time.monotonic()
        late = yard.send_many("deadly.work", [(0,)] * 10)

        assert worker.wait() == 0
        assert time.monotonic() - told < 1.5 + 1
        assert yard.states(running) == {"succeeded": 2}
        assert yard.states(late) == {"queued": 10}
        other = yard.worker("deadly")
        assert yard.wait_ended(late) == {"succeeded": 10}
        assert {handle.result() for handle in [*running, *late]} == {1}
        assert set(yard.ledger.counts().values()) == {1}
        assert other.stop() == 0
        assert yard.leftovers() == []


def test_what_waits_in_a_process_is_visible_to_others_within_a_second_of_a_stop(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=1)
        yard.wait_ended(yard.send_many("deadly.work", [(0,)] * 30))
        other = yard.worker("deadly", queues=("other",))
        with worker.paused():
            blocker = yard.send("deadly.work", 2)
            waiting = yard.send_many("deadly.work", [(0,)] * 20)
        yard.ledger.wait("start", blocker.id)

        worker.send(signal.SIGTERM)
        wait_until(lambda: yard.states(waiting) == {"queued": 20}, timeout=1)
        assert worker.wait() == 0
        assert blocker.status() is State.SUCCEEDED
        assert other.stop() == 0


def test_what_still_runs_when_the_grace_is_over_goes_back_uncharged(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=2, grace_ms=500)
        handles = [yard.send(f"deadly.{task}", 8) for task in ("work", "awork")]
        yard.ledger.wait("start", count=2)

        told = time.monotonic()
        assert worker.stop() == 0

        assert 0.5 <= time.monotonic() - told < 3
        assert yard.states(handles) == {"queued": 2}
        assert {(handle.info().failures, handle.info().crashes) for handle in handles} == {(0, 0)}
        assert not yard.ledger.ends()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_ends_a_worker_at_once_and_charges_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=2, processes=2)
        handles = [yard.send(f"deadly.{task}", 8) for task in ("work", "awork")]
        yard.ledger.wait("start", count=2)

        worker.send(number)
        wait_until(lambda: worker.says("stopping"))
        told = time.monotonic()
        worker.send(number)

        assert worker.wait() == 0
        assert time.monotonic() - told < 1
        assert yard.states(handles) == {"queued": 2}
        assert {(handle.info().failures, handle.info().crashes) for handle in handles} == {(0, 0)}


def test_a_terminals_interrupt_reaches_all_and_only_the_supervisor_acts(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=2)
        handles = [yard.send(f"deadly.{task}", 1) for task in ("work", "awork")]
        yard.ledger.wait("start", count=2)

        worker.send_all(signal.SIGINT)

        assert worker.wait() == 0
        assert yard.states(handles) == {"succeeded": 2}
        assert "KeyboardInterrupt" not in worker.tail()


def test_an_idle_worker_stops_at_once(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", processes=2)

        told = time.monotonic()
        assert worker.stop() == 0

        assert time.monotonic() - told < 1
        assert yard.leftovers() == []


def test_a_worker_stops_while_the_server_is_away(tmp_path: Path) -> None:
    """What ran can be told to nobody: the grace, then some seconds in which parent and child still try."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", grace_ms=300)
        wait_until(
            lambda: worker.says("tasks     "), message="the supervisor to have asked the server what it is"
        )
        handle = yard.send("deadly.work", 0.3)
        yard.ledger.wait("start", handle.id)
        yard.server.kill()
        yard.ledger.wait("end", handle.id)

        told = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - told < 0.3 + 10


def test_a_worker_stops_while_the_server_is_frozen(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", grace_ms=300)
        wait_until(
            lambda: worker.says("tasks     "), message="the supervisor to have asked the server what it is"
        )
        handle = yard.send("deadly.work", 0.3)
        yard.ledger.wait("start", handle.id)
        with yard.server.frozen():
            yard.ledger.wait("end", handle.id)
            worker.send(signal.SIGTERM)
            wait_until(lambda: not worker.children(), timeout=10, message="the process to end by itself")
            worker.send(signal.SIGTERM)

            assert worker.wait() == 0


def test_an_idle_worker_stops_while_the_server_is_away(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly")
        yard.server.kill()
        wait_until(lambda: worker.says("no answer"))

        told = time.monotonic()
        worker.send(signal.SIGTERM)
        wait_until(lambda: not worker.children(), timeout=2)
        worker.send(signal.SIGTERM)
        assert worker.wait() == 0
        assert time.monotonic() - told < 4


def test_a_worker_that_never_reached_its_server_stops(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        yard.server.kill()
        worker = yard.worker("deadly", wait=False)
        wait_until(lambda: worker.says("no answer"), message=worker.tail)

        told = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - told < 5


def test_a_worker_waits_for_its_server_and_then_works(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        yard.server.kill()
        worker = yard.worker("deadly", wait=False)
        wait_until(lambda: worker.says("no answer"), message=worker.tail)
        yard.server.start()

        assert yard.send("deadly.work", 0).result(timeout=5) == 1
        assert worker.stop() == 0


def test_a_reload_replaces_each_process_and_brings_new_code_while_tasks_flow(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        module = tmp_path / "own_app.py"
        module.write_text(MODULE.format(version=1))
        worker = yard.worker("own_app:app", app_dir=str(tmp_path), processes=2, concurrency=2)
        old = set(worker.children())
        long = yard.send("own.version", 1.5)
        yard.ledger.wait("start", long.id)
        assert yard.send("own.version").result(timeout=10) == 1

        module.write_text(MODULE.format(version=2).replace("\n", "\n\n"))
        worker.send(signal.SIGHUP)
        handles: list[TaskHandle[object]] = []

        def replaced() -> bool:
            handles.append(yard.send("own.version"))
            handles[-1].result(timeout=5)
            return len(worker.children()) == 2 and old.isdisjoint(worker.children())

        wait_until(replaced, timeout=20, message=worker.tail)
        _, _, first, second = yard.ledger.entries("imported")
        assert first.at < yard.ledger.entries("import")[3].at < second.at  # one by one
        wait_until(lambda: len(worker.says("reloaded: 2 process(es)")) == 1, message=worker.tail)
        assert long.result(timeout=10) == 1
        assert yard.send("own.version").result(timeout=10) == 2
        assert set(yard.ledger.counts().values()) == {1}
        results = [handle.result() for handle in handles]
        assert results == sorted(results, key=lambda result: result == 2) or set(results) == {1, 2}
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_reload_to_code_that_cannot_be_imported_keeps_the_old_processes(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        module = tmp_path / "own_app.py"
        module.write_text(MODULE.format(version=1))
        worker = yard.worker("own_app:app", app_dir=str(tmp_path), processes=2)
        old = set(worker.children())

        module.write_text(
            "raise ValueError('a slip of the pen')\n# longer than before, so that it is read anew\n" * 20
        )
        worker.send(signal.SIGHUP)
        wait_until(lambda: len(worker.says("a slip of the pen")) >= 2, message=worker.tail)

        wait_until(lambda: set(worker.children()) == old)
        assert yard.send("own.version").result(timeout=10) == 1
        assert not [line for line in worker.log() if "Traceback" in line["message"]]
        assert worker.stop() == 0
        assert not worker.says("reloaded: ")


def test_a_process_that_somebody_stops_is_replaced(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=2)
        [child] = worker.children()
        running = yard.send("deadly.work", 1)
        yard.ledger.wait("start", running.id)

        os.kill(child, signal.SIGTERM)
        after = [yard.send("deadly.work", 0) for _ in range(3)]

        assert running.result(timeout=10) == 1
        assert yard.wait_ended(after) == {"succeeded": 3}
        wait_until(lambda: worker.children() not in ([], [child]))
        assert set(yard.ledger.counts().values()) == {1}
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_process_whose_task_closed_its_output_ends_alone(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", processes=2)
        hushed: int = yard.send("deadly.hush").result(timeout=10)
        [other] = set(worker.children()) - {hushed}

        os.kill(hushed, signal.SIGTERM)

        wait_until(lambda: worker.says(f"pid {hushed} "))
        assert worker.says(f"pid {hushed} has ended, as somebody asked it to")
        wait_until(lambda: len(worker.children()) == 2)
        assert other in worker.children()
        assert worker.stop() == 0
        assert yard.leftovers() == []


def test_a_signal_to_what_a_task_has_forked_is_none_to_the_worker(tmp_path: Path) -> None:
    # The fork has the event loop's wake-up descriptor: by it the signal would reach the loop of the process, too.
    with Yard(tmp_path) as yard:
        worker = yard.worker("forks", grace_ms=500)
        children = worker.children()

        ended = yard.send("forks.end_a_fork", 1.5)

        assert ended.result(timeout=10) == -signal.SIGTERM
        assert yard.ledger.counts() == {ended.id: 1}
        assert worker.children() == children
        assert worker.stop() == 0
        assert yard.leftovers() == []
