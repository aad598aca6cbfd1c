"""A run over several queues: each in turn, round after round; what fails is set aside and named."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from tests.benchmarks.peers.killing import Outcome, kill
from tests.benchmarks.peers.measure import Figures, Size, by_turns, drains
from tests.benchmarks.peers.measured import Circumstances, Measured
from tests.benchmarks.peers.settings import Peer
from tests.benchmarks.peers.stage import Failed
from tests.benchmarks.rows import settings_of
from tests.servers import RedisServer

T = TypeVar("T")
AT_ONCE = 2
"""How many killings go on at once: they mostly wait, and nothing is timed by them but how long a return takes."""


class Run:
    """One run over some queues.

    Args:
        peers: the queues, taskq first; each in turn in every round.
        size: how much is done in a round.
    """

    def __init__(self, peers: list[Peer], size: Size) -> None:
        self.peers, self.size = peers, size
        self.failures: list[str] = []
        self.rounds: dict[str, list[Figures]] = {peer.name: [] for peer in peers}
        self.beside: dict[str, list[Figures]] = {peer.name: [] for peer in peers[1:]}
        self.killing: dict[str, Outcome] = {}
        self._failed: set[str] = set()
        self._began = time.monotonic()
        self._loads = [os.getloadavg()[0]]

    def figures(self, rounds: int) -> None:
        """Measure each queue, `rounds` times; one that fails is left out of what comes after."""
        ours, *others = self.peers
        for at in range(1, rounds + 1):
            found: dict[str, Figures] = {}
            for peer in others:
                near, found[peer.name] = self._measured(
                    peer,
                    f"round {at} of {rounds}, by turns with taskq",
                    partial(by_turns, ours, peer, size=self.size),
                ) or ({}, {})
                self.beside[peer.name].append(near)
            found[ours.name] = middle([some[-1] for some in self.beside.values() if some[-1]])
            for peer in self.peers:
                drained = self._measured(
                    peer,
                    f"round {at} of {rounds}, further drains",
                    partial(drains, peer, size=self.size),
                )
                self.rounds[peer.name].append(found[peer.name] | (drained or {}))

    def _measured(self, peer: Peer, what: str, measure: Callable[[Path], T]) -> T | None:
        """Give what is measured of a queue; None if it fails, or has failed before."""
        if peer.name in self._failed:
            return None
        _say(f"{what}: {peer.title}")
        with tempfile.TemporaryDirectory() as folder:
            try:
                return measure(Path(folder))
            except Exception as error:  # noqa: BLE001 - whatever it is: it is named, and the others run
                self._failed.add(peer.name)
                self.failures.append(_told(what, peer, error))
                return None
            finally:
                self._loads.append(os.getloadavg()[0])

    def kill(self) -> None:
        """Kill a worker of each queue."""

        def one(peer: Peer) -> None:
            outcome = self._measured(peer, "killing", partial(kill, peer))
            if outcome is not None:
                self.killing[peer.name] = outcome

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(one, self.peers))

    def measured(self, rounds: int) -> Measured:
        """What has come of it."""
        at = Circumstances(
            date=datetime.now(UTC).strftime("%Y-%m-%d"),
            python=platform.python_version(),
            server=_server(),
            cores=len(os.sched_getaffinity(0)),
            rounds=rounds,
            share=self.size.share,
            load_before=self._loads[0],
            load_most=max(self._loads),
            seconds=time.monotonic() - self._began,
        )
        return Measured(at, self.rounds, self.beside, self.killing)


def middle(some: Sequence[Figures]) -> Figures:
    """Give the median of each figure."""
    return {name: statistics.median(figures[name] for figures in some) for name in (some[0] if some else ())}


def _told(what: str, peer: Peer, error: Exception) -> str:
    where = "" if isinstance(error, Failed) else "".join(traceback.format_exception(error))
    return f"{peer.title} ({what}): {error}\n{where}"


def _server() -> str:
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer("redis", Path(folder))
        server.start()
        try:
            return settings_of(server).server
        finally:
            server.stop()


def _say(what: str) -> None:
    print(f"{what} …", file=sys.stderr, flush=True)
