"""What taskq costs, beside what was asked for.

python -m tests.benchmarks [--json] [--only NAME …] [--quick] [--server redis|valkey] [--record]

Each room has a private server. The exit code is 1 if a figure was missed, or could not be taken validly.
Messages and outcomes are signed if TASKQ_SIGNING_KEYS is set, as by `TASKQ_SIGNING_KEYS=$(taskq keys new)`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import drain, growth, guard, isolated, latency, memory, producing, redis_time, waits
from tests.benchmarks.rows import Row, settings_of, show
from tests.benchmarks.stand import Bench
from tests.servers import RedisServer

ROOMS: dict[str, Callable[[Bench], list[Row]]] = {
    "drain": drain.rows,
    "producing": producing.rows,
    "latency": latency.rows,
    "waits": waits.rows,
    "isolated": isolated.rows,
    "memory": memory.rows,
    "redis_time": redis_time.rows,
    "growth": growth.rows,
    "guard": guard.rows,
}


def run(room: str, kind: str, *, quick: bool, record: bool) -> list[Row]:
    """Run one room on a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(kind, Path(folder) / "server")
        server.start()
        try:
            settings = settings_of(server)
            bench = Bench(server, settings, Path(folder), quick, record)
            return [row.within(room, settings) for row in ROOMS[room](bench)]
        finally:
            server.stop()


def cache_bytecode(folder: str) -> None:
    """Have the processes that are started from now on find it there, as where a package is installed."""
    os.environ.update(PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=folder)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    parser.add_argument(
        "--only", nargs="+", choices=ROOMS, default=list(ROOMS), metavar="NAME", help=", ".join(ROOMS)
    )
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs, not how fast")
    parser.add_argument("--server", choices=("redis", "valkey"), default="redis")
    parser.add_argument("--record", action="store_true", help="let `guard` record the ratio it measures")
    options = parser.parse_args()
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        cache_bytecode(folder)
        for room in options.only:
            print(f"{room} …", file=sys.stderr, flush=True)
            found += run(room, options.server, quick=options.quick, record=options.record)
    print(json.dumps([row.as_json() for row in found], indent=1) if options.json else show(found))
    return int(any(row.verdict in ("missed", "invalid") for row in found))


if __name__ == "__main__":
    sys.exit(main())
