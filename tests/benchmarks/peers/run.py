"""A run over several queues: each in turn, round after round; what fails is set aside and named."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.peers.killing import Outcome, kill
from tests.benchmarks.peers.measure import Size, measure
from tests.benchmarks.peers.measured import Circumstances, Measured
from tests.benchmarks.peers.settings import Peer
from tests.benchmarks.peers.stage import Failed
from tests.benchmarks.rows import settings_of
from tests.servers import RedisServer

AT_ONCE = 2
"""How many killings go on at once: they mostly wait, and nothing is timed by them but how long a return takes."""


class Run:
    """One run over some queues.

    Args:
        peers: the queues, each in turn in every round.
        size: how much is done in a round.
    """

    def __init__(self, peers: list[Peer], size: Size) -> None:
        self.peers, self.size = peers, size
        self.failures: list[str] = []
        self.rounds: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
        self.killing: dict[str, Outcome] = {}
        self._began = time.monotonic()
        self._loads = [os.getloadavg()[0]]

    def figures(self, rounds: int) -> None:
        """Measure each queue in turn, `rounds` times; one that fails is left out of the rounds after."""
        failed: set[str] = set()
        for at in range(rounds):
            for peer in self.peers:
                if peer.name in failed:
                    continue
                _say(f"round {at + 1} of {rounds}: {peer.title}")
                with tempfile.TemporaryDirectory() as folder:
                    try:
                        self.rounds[peer.name].append(measure(peer, Path(folder), self.size))
                    except Exception as error:  # noqa: BLE001 - whatever it is: it is named, and the others run
                        failed.add(peer.name)
                        self.failures.append(_told(peer, error))
                self._loads.append(os.getloadavg()[0])

    def kill(self) -> None:
        """Kill a worker of each queue."""

        def one(peer: Peer) -> None:
            _say(f"killing: {peer.title}")
            with tempfile.TemporaryDirectory() as folder:
                try:
                    self.killing[peer.name] = kill(peer, Path(folder))
                except Exception as error:  # noqa: BLE001 - as above
                    self.failures.append(_told(peer, error))

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
        return Measured(at, self.rounds, self.killing)


def _told(peer: Peer, error: Exception) -> str:
    where = "" if isinstance(error, Failed) else "".join(traceback.format_exception(error))
    return f"{peer.title}: {error}\n{where}"


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
