"""taskq beside other task queues, each in an environment of its own, in turn on a private server.

python -m tests.benchmarks.peers [--peers NAME …] [--only figures|killing] [--rounds N] [--share X] [--quick] [--json]
python -m tests.benchmarks.peers --install [NAME …]
python -m tests.benchmarks.peers --page

A whole run (no --peers, --only or --quick) is kept in measured.json, and docs/performance.md and its chart are made
of it; --page makes them again. The exit code is 1 if a queue did not run, and 2 if what is asked of taskq was missed.
"""

from __future__ import annotations

import argparse
import signal
import sys

import msgspec

from tests.benchmarks.peers import measured as results
from tests.benchmarks.peers import report
from tests.benchmarks.peers.environments import PEERS, environment
from tests.benchmarks.peers.measure import QUICK, full
from tests.benchmarks.peers.run import Run
from tests.benchmarks.peers.settings import ALL, TASKQ
from tests.benchmarks.rows import show

ROUNDS = 3
DID_NOT_RUN, MISSED = 1, 2


def main() -> int:
    options = _options()
    for ending in (signal.SIGINT, signal.SIGTERM):
        # Workers and servers end with the run, however it was started.
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
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
    run = Run(peers, QUICK if options.quick else full(options.share))
    if options.only != "killing":
        run.figures(options.rounds)
    if options.only != "figures":
        run.kill()
    return conclude(run, options)


def conclude(run: Run, options: argparse.Namespace) -> int:
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
    parser.add_argument("--share", type=float, default=1.0, help="of the tasks, where the machine is busy")
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs, not how fast")
    parser.add_argument("--json", action="store_true", help="what was measured, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
