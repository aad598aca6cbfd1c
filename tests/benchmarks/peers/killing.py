"""Whether a queue loses what its worker held when it was killed: tried, not read up.

Tasks of 50 ms are under way, their worker is killed with all its processes, and another one is started. A task that
never came to its end is lost.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.peers.settings import Peer
from tests.benchmarks.peers.stage import START_S, Failed, Stage, private_server

AMONG = 0.3
"""The share of the tasks that have ended when the worker is killed."""

TRIES = 3

MARKS_EACH = 2
"""A task marks its start by its number below zero, and its end by its number: numbers begin at 1."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it.

    Args:
        count: the tasks.
        held: those that ran when the worker was killed.
        lost: those that never came to their end.
        twice: those that came to it more than once.
        seconds: from the new worker's start until all of them have ended, those too that had only waited; or to the
            end of patience.
    """

    count: int
    held: int
    lost: int
    twice: int
    seconds: float

    @property
    def late(self) -> bool:
        """Whether it acknowledges after the run: nothing was lost."""
        return not self.lost


def kill(peer: Peer, folder: Path) -> Outcome:
    """Kill a worker in the middle of its work, and count.

    Raises:
        Failed: the queue does not run.
    """
    for at in range(TRIES):
        if outcome := _killed(peer, folder / str(at)):
            return outcome
    raise Failed(f"no task ran when the worker was killed, {TRIES} times: what it would lose is not known")


def _killed(peer: Peer, folder: Path) -> Outcome | None:
    """Give what came of it; None if the worker held nothing just then, so that nothing can be said."""
    with (
        private_server(folder / "server") as server,
        Stage(peer, server, folder / "killing", phase="killing") as stage,
    ):
        stage.ask("many", task="numbered", calls=[[number] for number in range(1, peer.killing + 1)])
        stage.start()
        stage.wait(round(peer.killing * AMONG) * MARKS_EACH, START_S)
        _until_one_runs(stage)
        stage.kill()
        held = running(stage.marks())
        if not held:
            return None
        killed = time.monotonic()
        stage.start()
        number = peer.killing
        while missing(stage.marks(), peer.killing) and time.monotonic() - killed < peer.recovery_s:
            # Work goes on: some queues look for what the dead have left only when something new comes.
            number += 1
            stage.ask("one", task="numbered", calls=[[number]])
            time.sleep(0.5)
        seconds = time.monotonic() - killed
        ends = [number for number in stage.marks() if 0 < number <= peer.killing]
        distinct = len(set(ends))
        return Outcome(peer.killing, len(held), peer.killing - distinct, len(ends) - distinct, seconds)


def missing(marks: Sequence[int], count: int) -> bool:
    """Whether one of the first `count` tasks has not come to its end."""
    return not ended(marks).issuperset(range(1, count + 1))


def ended(marks: Sequence[int]) -> set[int]:
    """The tasks that came to their end."""
    return {number for number in marks if number > 0}


def running(marks: Sequence[int]) -> set[int]:
    """The tasks that have begun and not ended."""
    return {-number for number in marks if number < 0} - ended(marks)


def _until_one_runs(stage: Stage) -> None:
    deadline = time.monotonic() + START_S
    while not running(stage.marks()[-1:]):
        if time.monotonic() > deadline:
            raise Failed("no task was seen to run")
        time.sleep(0.001)
