"""What a child notes where its supervisor can still read it once the child is dead."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from taskq.worker.testimony import Running
from taskq.worker.testimony import Testimony as Page


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page(slots=4)
    yield page
    page.close()


def note(page: Page, slot: int, g: int, kill_at_ms: int = 0) -> None:
    at = page.word_of(slot)
    page.words[at + 1] = kill_at_ms
    page.words[at] = g


def test_at_first_nothing_runs(page: Page) -> None:
    assert page.running() == []
    assert (page.done(), page.revoked()) == (0, 0)


def test_the_slots_lie_apart_and_apart_from_what_else_is_noted(page: Page) -> None:
    page.stamp(7)
    page.beat()
    page.revoke()
    for slot in range(4):
        note(page, slot, slot + 1, slot * 10)

    assert page.running() == [Running(g=slot + 1, kill_at_ms=slot * 10) for slot in range(4)]
    assert (page.done(), page.revoked()) == (7, 1)
    note(page, 2, 0)
    assert [one.g for one in page.running()] == [1, 2, 4]


def test_the_last_slots_are_of_what_runs_apart() -> None:
    page = Page(slots=4, apart=1)
    for slot in (0, 2, 3):
        note(page, slot, slot + 1)

    assert [(one.g, one.apart) for one in page.running()] == [(1, False), (3, False), (4, True)]
    page.close()


def test_a_generation_of_any_size_that_redis_gives_fits(page: Page) -> None:
    note(page, 3, 2**53, 2**63)
    assert page.running() == [Running(2**53, 2**63)]


def test_what_a_process_noted_is_there_when_it_is_dead(page: Page) -> None:
    pid = os.fork()
    if pid == 0:
        note(page, 1, 42, 43)
        page.stamp(5)
        os._exit(0)
    os.waitpid(pid, 0)

    assert page.running() == [Running(42, 43)]
    assert page.done() == 5


def test_an_executed_child_maps_the_same_page_by_its_descriptor(page: Page) -> None:
    other = Page(slots=4, fd=os.dup(page.fd))
    note(other, 0, 9)
    page.revoke()

    assert page.running() == [Running(9, 0)]
    assert other.revoked() == 1
    other.close()


def test_silence_is_measured_since_the_last_word(page: Page) -> None:
    page.stamp(0)
    page.beat()
    before = time.monotonic()
    assert page.engine_silent_ms() < 1_000
    time.sleep(0.05)
    elapsed_ms = (time.monotonic() - before) * 1_000
    assert 49 <= page.engine_silent_ms() <= elapsed_ms + 50
    assert 49 <= page.supervisor_silent_ms() <= elapsed_ms + 50
    page.beat()
    assert page.supervisor_silent_ms() < page.engine_silent_ms()
