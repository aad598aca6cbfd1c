"""`python -m tests.fuzz [NAME …] [--seconds 20] [--seed N] [--jobs 2]`: feed all targets, or those that are named."""

from __future__ import annotations

import argparse
import logging
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tests.fuzz.engine import CORPUS, Fuzzer, name_of
from tests.fuzz.targets import TARGETS
from tests.fuzz.watch import Watch

LIVE = "live"
ALL = [*TARGETS, LIVE]
FOUND = Path(__file__).with_name("found")
ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--seconds", type=float, default=20, help="for each target; 20")
    parser.add_argument(
        "--inputs", type=float, default=float("inf"), help="for each target at most; no limit"
    )
    parser.add_argument("--seed", type=int, help="what the inputs come from; printed, to run the same again")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="targets at a time; 2")
    parser.add_argument("--keep", action="store_true", help="add inputs that reached new lines to the corpus")
    parser.add_argument("--here", action="store_true", help="in this process, one after the other")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - {*ALL}:
        parser.error(f"there is no target {', '.join(sorted(unknown))}: they are {', '.join(ALL)}")
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    if given.names == [LIVE] and given.here:
        return _live(given, seed)
    if given.here:
        watch = Watch()
        return max([_here(name, given, seed, watch) for name in given.names or TARGETS])
    names = given.names or ALL
    print(
        f"{len(names)} target(s), {given.seconds:g} s each, {given.jobs} at a time, --seed {seed}", flush=True
    )
    with ThreadPoolExecutor(given.jobs) as pool:
        codes = [*pool.map(partial(_apart, given=given, seed=seed), names)]
    print(f"{sum(map(bool, codes))} of {len(names)} target(s) with findings")
    return int(any(codes))


def _apart(name: str, *, given: argparse.Namespace, seed: int) -> int:
    """One target in a process of its own: its imports, its memory and its end are its own."""
    words = [name, "--here", f"--seconds={given.seconds}", f"--inputs={given.inputs}", f"--seed={seed}"]
    words += ["--keep"] if given.keep else []
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    print((done.stdout + done.stderr[-4_000:]).rstrip() or f"{name}: exit code {done.returncode}", flush=True)
    return done.returncode


def _live(given: argparse.Namespace, seed: int) -> int:
    from tests.fuzz.live import run

    logging.disable()
    report, told = run(given.seconds, seed)
    print(report, told, sep="\n" if told else "  ", flush=True)
    return int(bool(told))


def _here(name: str, given: argparse.Namespace, seed: int, watch: Watch) -> int:
    logging.disable()
    report = Fuzzer(TARGETS[name], watch, seed).run(given.seconds, given.inputs)
    print(report)
    for data, told in report.findings.items():
        FOUND.mkdir(exist_ok=True)
        path = FOUND / f"{name}-{name_of(data)}"
        path.write_bytes(data)
        print(f"-- {path.relative_to(ROOT)}: {data[:300]!r}{'…' if len(data) > 300 else ''}\n{told}")
    if given.keep:
        for data in report.kept:
            (CORPUS / name).mkdir(parents=True, exist_ok=True)
            (CORPUS / name / name_of(data)).write_bytes(data)
    return int(bool(report.findings))


if __name__ == "__main__":
    sys.exit(main())
