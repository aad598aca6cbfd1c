"""Runs a scenario: as it is, then broken by its control, each again if the machine disturbed it."""

from __future__ import annotations

import shutil
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.checker import Complaint, Findings, check, percentile
from tests.chaos.rows import Row
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage

TRIES = 3
"""The first run, and two more if it was invalid."""


@dataclass(frozen=True)
class Played:
    """One run of a scenario."""

    findings: Findings | None
    complaints: list[Complaint]
    figures: dict[str, str]
    lag_s: float
    busy: float
    valid: bool


def run(kind: type[Scenario], seed: int, scale: float, folder: Path, *, controls: bool) -> Row:
    """Run one scenario; what it leaves in `folder` stays if it fails.

    Args:
        kind: the scenario.
        seed: of all that is drawn.
        scale: of the scenario's time.
        folder: where it may keep things.
        controls: whether it is run on its control, too.
    """
    began = time.monotonic()
    played = _valid(kind, seed, scale, folder / kind.id, "")
    control, showed = "-", list[str]()
    if controls:
        broken = _valid(kind, seed, scale, folder / f"{kind.id}-control", kind.control)
        showed = [str(complaint)[:300] for complaint in broken.complaints]
        red = any(complaint.kind in kind.shows for complaint in broken.complaints)
        control = "RED" if red and broken.valid else "GREEN" if broken.valid else "invalid"
        if control == "RED":
            shutil.rmtree(folder / f"{kind.id}-control")
    found = played.findings
    row = Row(
        id=kind.id,
        fault=kind.fault,
        seed=seed,
        accepted=found.accepted if found else 0,
        lost=len(found.lost) if found and "lost" not in kind.tolerates else 0,
        duplicates=found.duplicates if found else 0,
        refused=found.refused if found else 0,
        overlaps=len(found.overlaps) if found else 0,
        doubles=len(found.doubles) if found else 0,
        changed=len(found.changed) if found else 0,
        residue=len(found.residue) if found else 0,
        recover_p99=percentile(found.recovered, 0.99) if found else 0.0,
        figures=played.figures,
        lag_p99=played.lag_s,
        busy=played.busy,
        seconds=time.monotonic() - began,
        complaints=[str(complaint) for complaint in played.complaints],
        valid=played.valid,
        control=control,
        control_showed=showed,
    )
    if played.valid and not played.complaints:
        shutil.rmtree(folder / kind.id)
    return row


def _valid(kind: type[Scenario], seed: int, scale: float, folder: Path, control: str) -> Played:
    for left in reversed(range(TRIES)):
        played = play(kind, seed, scale, folder, control)
        if played.valid or not left:
            return played
        print(f"{kind.id}: invalid, lag_p99={played.lag_s * 1e3:.0f}ms; again", file=sys.stderr)
    raise AssertionError("unreachable")


def play(kind: type[Scenario], seed: int, scale: float, folder: Path, control: str) -> Played:
    """Run a scenario once."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scenario = kind()
    found: Findings | None = None
    figures: dict[str, str] = {}
    complaints: list[Complaint] = []
    stage = Stage(
        folder, scenario.server(folder / "server"), f"{seed}-{kind.id}", kind.seconds * scale, control
    )
    with stage:
        try:
            scenario.play(stage)
            stage.settle()
            found = check(stage.evidence())
            complaints += [one for one in found.complaints() if one.kind not in kind.tolerates]
            complaints += scenario.judge(stage, found)
            figures = scenario.figures(stage, found)
        except Exception as error:  # noqa: BLE001 - one scenario that does not get through is no other's trouble
            (folder / "error.txt").write_text(traceback.format_exc())
            complaints.append(Complaint("broke", f"{type(error).__name__}: {error}"))
    complaints += stage.complaints
    return Played(found, complaints, figures, stage.lag.p99_s, stage.busy, stage.lag.valid)
