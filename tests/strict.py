"""With TASKQ_TESTS_STRICT=1 what does not run fails, unless a line of a committed list allows it.

That goes for skips and for expected failures. A line of the list is
`start of the test's id | text in the reason | why it may not run`.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ALLOWED = Path(__file__).parent / "allowed_skips.txt"


@dataclass(frozen=True)
class Allowance:
    test: str
    reason: str

    def covers(self, nodeid: str, reason: str) -> bool:
        return nodeid.startswith(self.test) and self.reason in reason


def read_allowances(path: Path) -> list[Allowance]:
    """Read the list.

    Raises:
        ValueError: a line does not have its three parts.
    """
    allowances: list[Allowance] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"{path.name}:{number}: expected 'test | text in the reason | why'")
        allowances.append(Allowance(parts[0], parts[1]))
    return allowances


class Strictness:
    """Turns each skip and each expected failure that no allowance covers into a failure."""

    def __init__(self, allowances: list[Allowance]) -> None:
        self.allowances = allowances

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._judge(report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        self._judge(report)
        return report

    def _judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped:
            return
        details: Any = report.longrepr
        reason = str(getattr(report, "wasxfail", "") or details[2])
        if not any(allowance.covers(report.nodeid, reason) for allowance in self.allowances):
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid} did not run, and {ALLOWED.name} does not allow that: {reason}"
            report.__dict__.pop("wasxfail", None)


def install(config: pytest.Config) -> None:
    """Be strict if the environment says so. With zero tests pytest itself fails (exit code 5)."""
    if os.environ.get("TASKQ_TESTS_STRICT") == "1":
        config.pluginmanager.register(Strictness(read_allowances(ALLOWED)), "taskq-strictness")
