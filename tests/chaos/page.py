"""The table of docs/torture.md, made of the last whole run's rows, which are kept beside this file."""

from __future__ import annotations

import datetime as dt
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import psutil

from tests.chaos.checker import bound
from tests.chaos.rows import Row
from tests.chaos.scenario import all_scenarios
from tests.servers import find_server
from tests.workers import ROOT

PAGE = ROOT / "docs" / "torture.md"
RECORDED = Path(__file__).with_name("recorded.json")
README = ROOT / "README.md"
IN_README = ("T01", "T02", "T03", "T05", "T07", "T08", "T10")
BEGIN, END = "<!-- recorded: begin -->", "<!-- recorded: end -->"


class Recorded(msgspec.Struct, frozen=True):
    """One run, and what it ran on."""

    day: str
    tier: str
    scale: float
    python: str
    server: str
    cpus: int
    rows: list[Row]

    @classmethod
    def of(cls, tier: str, scale: float, rows: Sequence[Row]) -> Recorded:
        """What has just run here."""
        told = subprocess.run([find_server("redis"), "--version"], capture_output=True, text=True, check=True)
        version = told.stdout.split("v=")[1].split()[0]
        day = dt.datetime.now(dt.UTC).date().isoformat()
        cpus = psutil.cpu_count() or 1
        return cls(day, tier, scale, platform.python_version(), f"redis {version}", cpus, list(rows))


def load() -> Recorded:
    """Give the run that is kept."""
    return msgspec.json.decode(RECORDED.read_bytes(), type=Recorded)


def publish(recorded: Recorded) -> None:
    """Keep a run, and put its table into the page."""
    RECORDED.write_bytes(msgspec.json.format(msgspec.json.encode(recorded), indent=1) + b"\n")
    show(recorded)


def show(recorded: Recorded) -> None:
    """Put a run's tables into the page and the README."""
    for path, text in ((PAGE, render(recorded)), (README, summary(recorded))):
        path.write_text(inserted(path.read_text("utf-8"), text), "utf-8")


def inserted(page: str, text: str) -> str:
    """Give a page with `text` between its markers."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}"


def render(recorded: Recorded) -> str:
    """Give the table, as Markdown."""
    total, lost = _promised(recorded)
    told = (
        f"{lost} were lost"
        if lost
        else f"none was lost; with 95 % confidence, fewer than {bound(total):.1e} are"
    )
    where = f"Python {recorded.python}, {recorded.server}, {recorded.cpus} CPUs"
    what = (
        f"Of {recorded.day}, tier `{recorded.tier}` at scale {recorded.scale:g}, seed {recorded.rows[0].seed}"
    )
    head = ("", "what befalls whom", "tasks", "lost", "run again", "two outcomes", "back after", "control")
    return "\n".join(
        [
            f"{what}, {where}. Of {total:,} tasks {told}.",
            "",
            f"| {' | '.join(head)} |",
            f"| {' | '.join('---' for _ in head)} |",
            *(f"| {' | '.join(_cells(row))} |" for row in recorded.rows),
        ]
    )


def summary(recorded: Recorded) -> str:
    """Give what the README has of it, as Markdown."""
    total, lost = _promised(recorded)
    rows = [row for row in recorded.rows if row.id in IN_README]
    told = (
        f"Real servers and workers, {len(recorded.rows)} misfortunes, {total:,} tasks, {lost or 'none'} lost."
    )
    return "\n".join(
        [
            f"{told} Each one also befalls a taskq that is broken on purpose, and that has to show.",
            "[Torture](docs/torture.md) says how, and has them all.",
            "",
            "| what befalls whom | tasks | lost | run again |",
            "| --- | --- | --- | --- |",
            *(f"| {row.fault} | {row.accepted:,} | {row.lost} | {row.duplicates} |" for row in rows),
        ]
    )


def _promised(recorded: Recorded) -> tuple[int, int]:
    """Count what the server was to keep, and what was lost of it: not where it is made to lose what it accepted."""
    kinds = all_scenarios()
    rows = [row for row in recorded.rows if "lost" not in kinds[row.id].tolerates]
    return sum(row.accepted for row in rows), sum(row.lost for row in rows)


def _cells(row: Row) -> list[str]:
    back = f"{row.recover_p99:.1f} s" if row.recover_p99 else "–"
    meant = all_scenarios()[row.id].tolerates
    return [
        row.id,
        row.fault,
        f"{row.accepted:,}",
        "–" if "lost" in meant else str(row.lost),
        f"{row.duplicates} ({row.duplicate_rate:.2%})",
        "–" if "double" in meant else str(row.doubles),
        back,
        row.control.lower(),
    ]
