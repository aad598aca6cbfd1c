"""How the engine's thread is woken by others."""

from __future__ import annotations

import select
import threading
import time

from taskq.worker.waker import Waker


def readable(waker: Waker, seconds: float = 0.0) -> bool:
    return bool(select.select([waker], [], [], seconds)[0])


def test_who_sleeps_is_woken_by_another_thread() -> None:
    waker = Waker()
    waker.asleep = True
    began = time.monotonic()
    threading.Timer(0.05, waker.wake).start()

    assert readable(waker, 10)
    assert time.monotonic() - began < 5
    assert not waker.asleep


def test_who_does_not_sleep_is_left_alone() -> None:
    waker = Waker()
    waker.wake()
    assert not readable(waker)


def test_one_sleep_is_ended_once_and_the_next_one_anew() -> None:
    waker = Waker()
    for _ in range(2):
        waker.asleep = True
        for _ in range(3):
            waker.wake()
        assert readable(waker)
        waker.drain()
        assert not readable(waker)


def test_more_wake_ups_than_a_pipe_holds_hold_nobody_up() -> None:
    waker = Waker()
    for _ in range(100_000):
        waker.asleep = True
        waker.wake()
    while readable(waker):
        waker.drain()
