"""Waiting for the ends of all tasks, while one process is killed at its work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from taskq import TaskHandle, as_completed
from taskq.cli.demo.killing import Killer
from taskq.cli.demo.stage import Advance
from taskq.cli.trial.worker import Worker, WorkerFailed

_STRIKE_AFTER = 0.1
"""The share of tasks that have ended when a process is killed."""
_LOOK_S = 0.2
"""How often the worker is looked at while nothing ends."""
_SILENCE_S = 35.0
"""After this long without an end something is wrong; a client asks again by itself after 30 s."""

Handle = TaskHandle[Any]


def follow(
    handles: Sequence[Handle], worker: Worker, killer: Killer, advance: Advance, died: Callable[[], None]
) -> None:
    """Return once all tasks have ended; each handle has its record then, or None where nothing is known.

    `advance` is told how many have ended, and `died` is called when the killer has done its work.

    Raises:
        WorkerFailed: the worker has ended by itself, or no task ends any more.
        BrokerError: the server fails.
    """
    ends: SimpleQueue[Exception | None] = SimpleQueue()
    threading.Thread(target=_listen, args=(handles, ends), daemon=True).start()
    ended, last = 0, time.monotonic()
    while ended < len(handles):
        try:
            failure = ends.get(timeout=_LOOK_S)
        except Empty:
            worker.check()
            if time.monotonic() - last > _SILENCE_S:
                raise WorkerFailed(
                    f"no task has ended for {_SILENCE_S:g} s, and {len(handles) - ended} are still to end"
                ) from None
            continue
        if failure is not None:
            raise failure
        ended, last = ended + 1, time.monotonic()
        if killer.wanted and ended >= len(handles) * _STRIKE_AFTER and killer.strike():
            died()
        advance(ended)


def _listen(handles: Sequence[Handle], ends: SimpleQueue[Exception | None]) -> None:
    # In a thread, so that the other one can look after the worker while nothing ends.
    try:
        for _ in as_completed(handles):
            ends.put(None)
    except Exception as error:  # noqa: BLE001 - raised where it is waited for
        ends.put(error)
