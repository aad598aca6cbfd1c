"""taskq beside other task queues, each in an environment of its own, in turn on a private server.

python -m tests.benchmarks.peers [--peers NAME …] [--only figures|killing] [--rounds N] [--quick] [--json]
python -m tests.benchmarks.peers --install [NAME …]
python -m tests.benchmarks.peers --page

A whole run (no --peers, --only or --quick) is kept in measured.json, and docs/performance.md and its chart are made
of it; --page makes them again. The exit code is 1 if a queue did not run, and 2 if what is asked of taskq was missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tests.benchmarks.peers import measured as results
from tests.benchmarks.peers import report
from tests.benchmarks.peers.environments import PEERS, environment
from tests.benchmarks.peers.killing import Outcome, kill
from tests.benchmarks.peers.measure import FULL, QUICK, Size, measure
from tests.benchmarks.peers.measured import Circumstances, Measured
from tests.benchmarks.peers.settings import ALL, TASKQ, Peer
from tests.benchmarks.peers.stage import Failed
from tests.benchmarks.rows import settings_of, show
from tests.servers import RedisServer

ROUNDS = 3
DID_NOT_RUN, MISSED = 1, 2
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
                    except (Failed, AssertionError) as error:
                        failed.add(peer.name)
                        self.failures.append(f"{peer.title}: {error}")
                self._loads.append(os.getloadavg()[0])

    def kill(self) -> None:
        """Kill a worker of each queue."""

        def one(peer: Peer) -> None:
            _say(f"killing: {peer.title}")
            with tempfile.TemporaryDirectory() as folder:
                try:
                    self.killing[peer.name] = kill(peer, Path(folder))
                except (Failed, AssertionError) as error:
                    self.failures.append(f"{peer.title}, killed: {error}")

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
            load_before=self._loads[0],
            load_most=max(self._loads),
            seconds=time.monotonic() - self._began,
        )
        return Measured(at, self.rounds, self.killing)


def main() -> int:
    options = _options()
    if options.install is not None:
        for name in options.install or PEERS:
            print(f"{name}: {environment(name)}")
        return 0
    if options.page:
        report.publish(results.load())
        return 0
    # taskq in every run: without it there is nothing to compare.
    peers = [ALL[name] for name in dict.fromkeys([TASKQ.name, *(options.peers or ALL)])]
    for peer in peers[1:]:
        environment(peer.name)
    run = Run(peers, QUICK if options.quick else FULL)
    if options.only != "killing":
        run.figures(options.rounds)
    if options.only != "figures":
        run.kill()
    return _conclude(run, options)


def _conclude(run: Run, options: argparse.Namespace) -> int:
    """Show what was measured, and keep it if the run was whole; gives the exit code."""
    found = run.measured(options.rounds)
    if options.json or options.only:
        print(msgspec.json.format(msgspec.json.encode(found), indent=1).decode())
    if run.failures:
        print("\n\n".join(["These did not run:", *run.failures]), file=sys.stderr)
        return DID_NOT_RUN
    if options.only:
        return 0
    if not options.json:
        print(report.render(found))
    if not options.peers and not options.quick:
        results.save(found)
        report.publish(found)
    rows = results.verdicts(found)
    print(show(rows), file=sys.stderr)
    return MISSED if any(row.verdict == "missed" for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--install", nargs="*", choices=PEERS, metavar="NAME", help="make environments, and end"
    )
    parser.add_argument("--page", action="store_true", help="make the page of the run that is kept, and end")
    parser.add_argument("--peers", nargs="+", choices=PEERS, metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--only", choices=("figures", "killing"), help="one part of the run")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"{ROUNDS} by default")
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="what was measured, as JSON")
    return parser.parse_args()


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


if __name__ == "__main__":
    sys.exit(main())
