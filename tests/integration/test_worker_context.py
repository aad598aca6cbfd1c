"""What a task knows of itself, what a process sets up for it, and the hooks around both."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq import TaskFailed
from tests.support import wait_until
from tests.workers import Entry, Worker, Yard

TWICE = pytest.mark.parametrize("a", ["", "a"], ids=["sync", "async"])


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with Yard(tmp_path_factory.mktemp("spans")) as yard:
        yield yard


@pytest.fixture(scope="module")
def worker(yard: Yard) -> Iterator[Worker]:
    worker = yard.worker("spans")
    yield worker
    assert worker.stop() == 0
    assert yard.leftovers() == []


def events(yard: Yard, id: str) -> list[str]:
    return [" ".join([entry.event, *entry.words]) for entry in yard.ledger.entries(id=id)]


def order(entries: list[Entry]) -> list[str]:
    return [" ".join([entry.event, *entry.words]) for entry in entries]


@TWICE
def test_a_task_knows_its_own_call(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"spans.{a}tell_all", headers={"trace": "t-1"}, tags=["red", "blue"])

    told = handle.result(timeout=10)

    assert told["id"] == handle.id
    assert told["name"] == f"tests.tests.apps.spans.{a}tell_all"
    assert (told["queue"], told["attempt"]) == ("default", 1)
    assert told["headers"] == {"trace": "t-1"}
    assert told["tags"] == ["red", "blue"]


@TWICE
def test_the_fence_rises_with_every_run(yard: Yard, worker: Worker, a: str) -> None:
    first = yard.send(f"spans.{a}fail", 2)
    first.result(timeout=10)
    second = yard.send(f"spans.{a}tell_all")
    second.result(timeout=10)

    fences = [int(entry.words[0]) for id in (first.id, second.id) for entry in yard.ledger.starts(id)]

    assert len(fences) == 3
    assert fences == sorted(set(fences))


@TWICE
def test_the_state_is_what_the_lifespan_of_this_process_yielded(yard: Yard, worker: Worker, a: str) -> None:
    one, other = (yard.send(f"spans.{a}tell_all").result(timeout=10) for _ in range(2))

    assert one["state pid"] == one["pid"] == other["pid"] != os.getpid()
    assert other["runs"] > one["runs"]


@TWICE
def test_the_log_of_a_task_names_it(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"spans.{a}tell_all")
    handle.result(timeout=10)

    [line] = worker.says(f"a word from {handle.id}")

    assert line["message"] == f"[{handle.id}] a word from {handle.id}"
    assert line["task_id"] == handle.id
    assert line["task_name"] == f"tests.tests.apps.spans.{a}tell_all"
    assert line["level"] == "warning"


@TWICE
def test_hooks_run_around_a_task_in_their_order_and_back(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"spans.{a}fail", 1)
    handle.result(timeout=10)

    told = events(yard, handle.id)

    assert told[:2] == ["before_task sync True", "before_task async True"]
    assert told[2].startswith("start ")
    assert told[3:] == ["after_task async 1 NoneType", "after_task sync 1 NoneType"]


@TWICE
def test_hooks_hear_of_a_retry_and_of_a_failure(yard: Yard, worker: Worker, a: str) -> None:
    handle = yard.send(f"spans.{a}fail", 9)
    with pytest.raises(TaskFailed):
        handle.result(timeout=10)
    yard.ledger.wait("after_failure", handle.id, count=2)  # these run once the failure is on its way

    told = [event for event in events(yard, handle.id) if not event.startswith(("start", "before_task"))]

    assert told == [
        "after_task async None ValueError",
        "after_task sync None ValueError",
        "before_retry sync ValueError 20",
        "before_retry async ValueError 20",
        "after_retry sync ValueError 20",
        "after_task async None ValueError",
        "after_task sync None ValueError",
        "before_failure sync ValueError",
        "after_failure async ValueError",
        "after_failure sync ValueError",
    ]


def test_a_hook_that_raises_is_logged_and_costs_nothing(yard: Yard, worker: Worker) -> None:
    handle = yard.send("spans.tell_all")

    assert handle.result(timeout=10)["attempt"] == 1
    for hook in ("before_task", "after_task", "before_worker_start", "after_process_start"):
        lines = worker.says(f"Broken.{hook} raised ValueError: {hook}")
        assert lines, hook
        assert "traceback" in lines[0]
        assert all("traceback" not in line for line in lines[1:])


@pytest.mark.parametrize("app", ["spans", "tests.apps.spans:sync_app"], ids=["async", "sync"])
def test_each_process_enters_and_leaves_the_lifespan(tmp_path: Path, app: str) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker(app, processes=2)
        children = set(worker.children())
        assert worker.stop() == 0

        assert {entry.pid for entry in yard.ledger.entries("span-in")} == children
        assert {entry.pid for entry in yard.ledger.entries("span-out")} == children


def test_a_sync_lifespan_gives_the_state_too(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        yard.worker("tests.apps.spans:sync_app")

        for task in ("spans.sync_tell", "spans.async_tell"):
            told = yard.send(task).result(timeout=10)
            assert told["state pid"] == told["pid"]


def test_the_hooks_of_a_workers_life_run_once_a_worker_and_once_a_process(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("spans", processes=2)
        children = worker.children()
        yard.ledger.wait("after_process_start", count=2)
        assert worker.stop() == 0

        first = yard.ledger.entries("before_worker_start")[0].pid
        assert order([entry for entry in yard.ledger.entries() if entry.pid == first]) == [
            "before_worker_start sync",
            "before_worker_start async",
            "before_process_start sync",
            "span-in",
            "after_process_start sync",
            "after_worker_start sync",
            "before_process_stop sync",
            "before_worker_stop sync",
            "span-out",
            "after_process_stop async",
            "after_process_stop sync",
            "after_worker_stop sync",
        ]
        [other] = set(children) - {first}
        assert order([entry for entry in yard.ledger.entries() if entry.pid == other]) == [
            "before_process_start sync",
            "span-in",
            "after_process_start sync",
            "before_process_stop sync",
            "span-out",
            "after_process_stop async",
            "after_process_stop sync",
        ]


def test_the_hooks_of_a_workers_life_run_once_though_its_processes_are_replaced(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("spans", processes=2)
        old = set(worker.children())
        worker.send(signal.SIGHUP)
        wait_until(lambda: len(worker.children()) == 2 and old.isdisjoint(worker.children()))
        assert not yard.ledger.entries("before_worker_stop")
        assert worker.stop() == 0

        hooks = [entry.event for entry in yard.ledger.entries() if entry.words == ("sync",)]
        for hook in ("before_worker_start", "after_worker_start", "before_worker_stop", "after_worker_stop"):
            assert hooks.count(hook) == 1, hook
