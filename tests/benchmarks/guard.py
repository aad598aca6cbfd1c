"""The guard: how much of the ceiling is reached, held against what was recorded. The one timed check of CI.

A ratio of two loops in turn on one machine says the same on a fast and on a slow one, so that it can be kept.
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path

from tests.benchmarks.drain import top
from tests.benchmarks.rows import Row, at_least
from tests.benchmarks.stand import Bench
from tests.benchmarks.tasks import empty

PAIRS = 5
SHARE = 0.75
RECORDED = Path(__file__).with_name("recorded.json")
RATIO = "drain, sync, one process: of the ceiling"


def rows(bench: Bench) -> list[Row]:
    """Five pairs of ceiling and worker; with `record`, their median is what later runs are held against."""
    count = bench.size(40_000, 3_000)
    ratios: list[float] = []
    with bench.stand() as stand:
        stand.worker()
        stand.drain(empty, 1_000)
        for _ in range(PAIRS):
            highest = top(bench, count)
            ratios.append(stand.drain(empty, count).rate / highest)
    ratio = statistics.median(ratios)
    if bench.record:
        RECORDED.write_text(json.dumps({RATIO: round(ratio, 3)}, indent=1) + "\n")
    recorded = float(json.loads(RECORDED.read_text())[RATIO])
    note = f"the median of {', '.join(f'{one:.2f}' for one in sorted(ratios))}; {recorded:.2f} is recorded"
    return [Row(RATIO, ratio, "", at_least(SHARE * recorded), note=note)]
