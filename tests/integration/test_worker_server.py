"""A server that restarts, vanishes, freezes, forgets or hangs up, under load: nothing is lost, and work goes on.

Each test keeps enqueueing while the fault is on, so that some tasks are accepted before, during and after it.
What was accepted is known to the test; whether it ran is read from the ledger.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskq import EnqueueUnknown, TaskHandle
from taskq.errors import BrokerError, TaskqError
from tests.support import wait_until
from tests.workers import Worker, Yard, cpu_seconds

BACK_S = 5.0
"""Within this after the server is back, workers consume again (I-19)."""


class Load(threading.Thread):
    """Enqueues a task every few milliseconds; `accepted` has the handles, `unknown` what got no answer."""

    def __init__(self, yard: Yard, task: str = "deadly.work") -> None:
        super().__init__(name="load", daemon=True)
        self.yard, self.task = yard, task
        self.accepted: list[TaskHandle[Any]] = []
        self.unknown: list[EnqueueUnknown] = []
        self.failures: list[BaseException] = []
        self._ended = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._ended.wait(0.004):
            number += 1
            task = self.task if number % 2 else self.task.replace(".", ".a")
            try:
                self.accepted.append(self.yard.send(task, 0.01))
            except EnqueueUnknown as error:
                self.unknown.append(error)
            except TaskqError as error:
                self.failures.append(error)

    def wait_for(self, more: int) -> None:
        """Wait until so many more were accepted."""
        had = len(self.accepted)
        wait_until(lambda: len(self.accepted) >= had + more, timeout=20, message="the producer to go on")

    def end(self) -> list[TaskHandle[Any]]:
        """Stop; settle what was unknown; give all that was accepted."""
        self._ended.set()
        self.join(60)
        assert not self.is_alive()
        assert not self.failures
        return self.accepted + [error.retry() for error in self.unknown]


def work_through(yard: Yard, fault: Callable[[Load], None], workers: int = 1) -> tuple[list[Worker], Load]:
    """Run the load on workers, have the fault happen amid it, and see that all that was accepted ends well."""
    running = [yard.worker("deadly", concurrency=4, processes=2) for _ in range(workers)]
    pids = {worker.config.name: (worker.pid, worker.children()) for worker in running}
    load = Load(yard)
    load.start()
    load.wait_for(50)
    fault(load)
    back_at = time.monotonic()
    wait_until(
        lambda: any(entry.at > back_at for entry in yard.ledger.ends()),
        timeout=BACK_S,
        message=lambda: f"work to go on:\n{running[0].tail()}",
    )
    load.wait_for(50)
    handles = load.end()

    assert yard.wait_ended(handles, timeout=25) == {"succeeded": len(handles)}
    done = yard.ledger.counts("end")
    assert [handle.id for handle in handles if not done[handle.id]] == []
    assert {worker.config.name: (worker.pid, worker.children()) for worker in running} == pids
    return running, load


def finish(yard: Yard, workers: list[Worker]) -> None:
    for worker in workers:
        assert worker.stop() == 0
        assert not [line for line in worker.log() if "Traceback" in line["message"]]
        assert not worker.says("this process has to end")
    assert yard.leftovers() == []


def ran_twice(yard: Yard) -> int:
    return sum(1 for count in yard.ledger.counts().values() if count > 1)


def test_a_server_that_is_restarted_with_its_data(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:

        def restart(load: Load) -> None:
            yard.server.restart()

        workers, _ = work_through(yard, restart)
        assert ran_twice(yard) == 0
        finish(yard, workers)


def test_a_server_that_is_killed_and_away_for_a_while(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:

        def away(load: Load) -> None:
            yard.server.kill()
            pids = [pid for worker in yard.workers for pid in (worker.pid, *worker.children())]
            used = cpu_seconds(pids)
            time.sleep(3)  # that is the fault: it lasts longer than the lease
            assert cpu_seconds(pids) - used < 1.5, "the worker spins while the server is away"
            yard.server.start()

        workers, _ = work_through(yard, away)
        assert ran_twice(yard) <= 2 * 4
        assert workers[0].says("no answer")
        finish(yard, workers)


def test_a_server_that_is_frozen_for_longer_than_the_lease(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:

        def freeze(load: Load) -> None:
            with yard.server.frozen():
                time.sleep(3)  # that is the fault

        workers, _ = work_through(yard, freeze, workers=2)
        # Nobody who lives is reaped for it.
        assert ran_twice(yard) == 0
        assert not [line for worker in workers for line in worker.says("has not beaten")]
        finish(yard, workers)


def test_a_server_that_forgets_its_scripts(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:

        def forget(load: Load) -> None:
            for _ in range(40):
                yard.server.call("SCRIPT", "FLUSH")
                load.wait_for(3)

        workers, load = work_through(yard, forget)
        assert not load.unknown
        assert ran_twice(yard) == 0
        finish(yard, workers)


def test_a_server_that_hangs_up_on_all_its_clients(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:

        def hang_up(load: Load) -> None:
            for _ in range(15):
                yard.server.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                load.wait_for(10)

        workers, _ = work_through(yard, hang_up)
        assert ran_twice(yard) == 0
        finish(yard, workers)


def test_a_server_that_is_busy_with_a_script(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:

        def keep_busy(load: Load) -> None:
            yard.server.call("CONFIG", "SET", "busy-reply-threshold", "50")
            busy = "local t = redis.call('TIME')[1] + 2 while tonumber(redis.call('TIME')[1]) < t do end"
            yard.server.call("EVAL", busy, 0)

        workers, _ = work_through(yard, keep_busy)
        assert ran_twice(yard) == 0
        finish(yard, workers)


def test_a_server_that_lost_all_its_data(tmp_path: Path) -> None:
    """What it had is gone, and nobody can bring it back; that is said, and new tasks run."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=2, processes=2)
        children = worker.children()
        running = [yard.send("deadly.work", 1.5) for _ in range(4)]
        yard.ledger.wait("start", count=4)
        waiting = [yard.send("deadly.work", 1) for _ in range(20)]

        yard.server.call("FLUSHALL")
        lost_at = time.monotonic()
        wait_until(lambda: worker.says("has lost its meta"), message=worker.tail)
        after = [yard.send("deadly.work", 0) for _ in range(20)]

        assert yard.wait_ended(after) == {"succeeded": 20}
        assert time.monotonic() - lost_at < BACK_S
        wait_until(lambda: len(yard.ledger.ends()) == 24)
        assert {entry.id for entry in yard.ledger.starts()} == {handle.id for handle in [*running, *after]}
        assert not [handle for handle in waiting if yard.ledger.starts(handle.id)]
        assert worker.children() == children
        finish(yard, [worker])


def test_a_server_whose_clients_may_write_no_more_lets_what_runs_end(tmp_path: Path) -> None:
    """Full memory: nothing new enters, and all that was accepted is worked off."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("deadly", concurrency=4)
        handles = yard.send_many("deadly.work", [(0.02,)] * 100)
        yard.ledger.wait("start")
        yard.server.call("CONFIG", "SET", "maxmemory", "1mb")
        with pytest.raises(BrokerError):
            yard.send("deadly.work", 0)

        assert yard.wait_ended(handles) == {"succeeded": 100}
        assert set(yard.ledger.counts().values()) == {1}
        yard.server.call("CONFIG", "SET", "maxmemory", "0")
        yard.send("deadly.work", 0).result(timeout=10)
        finish(yard, [worker])


def test_a_login_that_is_refused_ends_a_worker_that_starts(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        yard.server.call("CONFIG", "SET", "requirepass", "right")
        worker = yard.worker("deadly", url=yard.server.url.replace("://", "://:s3cret@"), wait=False)

        assert worker.wait() != 0
        assert worker.says("BrokerRefused: the server refuses this user or password")
        assert "s3cret" not in worker.path.read_text()


def test_a_login_that_is_refused_later_ends_nothing(tmp_path: Path) -> None:
    """As while a password is changed: what runs ends, and what waits is run once the login counts again."""
    with Yard(tmp_path) as yard, yard.server.client(single_connection_client=True) as owner:
        worker = yard.worker("deadly", processes=2)
        children = worker.children()
        running = yard.send("deadly.work", 0.5)
        yard.ledger.wait("start", running.id)
        owner.config_set("requirepass", "changed")
        owner.client_kill_filter(_type="normal", skipme=True)
        wait_until(lambda: worker.says("the server wants a password"), message=worker.tail)
        owner.config_set("requirepass", "")

        assert yard.wait_ended([running, yard.send("deadly.work", 0)]) == {"succeeded": 2}
        assert set(yard.ledger.counts().values()) == {1}
        assert worker.children() == children
        finish(yard, [worker])
