"""What becomes of work when everything that can go wrong does.

python -m tests.chaos [--tier quick|nightly] [--only T01 …] [--seed N] [--scale 0.5] [--no-controls]
                      [--json] [--write] [--list]

The exit code is 1 if a scenario failed, a control stayed green, or the machine left no valid run.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import msgspec

from tests.chaos import page
from tests.chaos.runner import run
from tests.chaos.scenario import all_scenarios

SCALES = {"quick": 1.0, "nightly": 2.0}


def main() -> int:
    known = all_scenarios()
    options = _options(list(known))
    chosen = [
        kind
        for kind in known.values()
        if kind.id in options.only or (not options.only and kind.tier in ("quick", options.tier))
    ]
    if options.list:
        for kind in chosen:
            print(f"{kind.id} {kind.tier} {kind.seconds:g}s control={kind.control}: {kind.fault}")
        return 0
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="taskq-chaos-"))
    scale = options.scale * SCALES[options.tier]
    rows = []
    for kind in chosen:
        row = run(kind, seed, scale, folder, controls=not options.no_controls)
        rows.append(row)
        print(row.line(), file=sys.stderr if options.json else sys.stdout, flush=True)
        for complaint in row.complaints:
            print(f"    {complaint[:2_000]}", file=sys.stderr, flush=True)
        if row.control in ("GREEN", "invalid"):
            print(f"    control {kind.control} showed: {row.control_showed}", file=sys.stderr, flush=True)
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(rows), indent=1).decode())
    failed = [row.id for row in rows if not row.passed]
    if failed:
        print(f"failed: {', '.join(failed)}; ledgers, logs and AOF are in {folder}", file=sys.stderr)
        return 1
    folder.rmdir()
    if options.write:
        page.publish(page.Recorded.of(options.tier, scale, rows))
    return 0


def _options(known: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tier", choices=SCALES, default="quick")
    parser.add_argument("--only", nargs="+", default=[], choices=known, metavar="ID", help=", ".join(known))
    parser.add_argument("--seed", type=int, help="of all that is drawn; by default another one each time")
    parser.add_argument("--scale", type=float, default=1.0, help="of the time that each scenario takes")
    parser.add_argument("--no-controls", action="store_true", help="do not prove that each scenario can fail")
    parser.add_argument(
        "--json", action="store_true", help="the rows as JSON; the lines go to standard error"
    )
    parser.add_argument(
        "--write", action="store_true", help="keep the rows, and make the table of docs/torture.md"
    )
    parser.add_argument("--list", action="store_true", help="name the scenarios, and end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
