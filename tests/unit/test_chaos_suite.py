"""The torture suite's own form: each scenario has its control, and its table is that of the recorded run."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys

import msgspec
import pytest

from tests.chaos import ledger, page
from tests.chaos.patching import altered
from tests.chaos.rows import Row
from tests.chaos.scenario import Scenario, all_scenarios
from tests.workers import ROOT

KINDS = all_scenarios()
ROW = Row(
    id="T01",
    fault="SIGKILL of workers",
    seed=7,
    accepted=14_312,
    lost=0,
    duplicates=37,
    refused=0,
    overlaps=0,
    doubles=0,
    changed=0,
    residue=0,
    recover_p99=3.14,
    figures={"kills": "5"},
    lag_p99=0.004,
    busy=0.5,
    seconds=20.4,
    complaints=[],
    valid=True,
    control="RED",
)


def with_(**changes: object) -> Row:
    return msgspec.structs.replace(ROW, **changes)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_scenario_is_explained_and_has_a_control_that_breaks_something(kind: type[Scenario]) -> None:
    control = importlib.import_module(f"tests.chaos.controls.{kind.control}")

    assert re.fullmatch(r"[A-Z]+\d+[a-z]?", kind.id)
    assert (kind.__doc__ or "").startswith(f"{kind.id}: ")
    assert callable(control.apply)
    assert control.__doc__
    assert kind.shows
    assert altered(getattr(control, "CHANGES", {}))
    assert not set(kind.shows) & set(kind.tolerates)
    assert kind.play is not Scenario.play


def test_who_imports_the_scenarios_has_a_whole_worker() -> None:
    """Their tasks witness outcomes in the workers that run them, not in a process that lists them."""
    listing = "from tests.chaos.scenario import all_scenarios; from taskq.worker.holdings import Holdings\n"
    listing += "all_scenarios(); print(Holdings.settled.__module__)"
    environ = {name: value for name, value in os.environ.items() if name != ledger.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", listing], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=50
    )

    assert done.stdout == "taskq.worker.holdings\n", done.stderr


def test_what_a_control_breaks_is_there_to_be_broken() -> None:
    """In processes of their own, for a control is not taken back."""
    apply = "import os, sys; from tests.chaos import broken\nfor name in sys.argv[1:]:\n"
    apply += "    if os.fork() == 0: broken.control(name).apply(); os._exit(0)\n"
    apply += "    print(name, os.wait()[1])"
    names = sorted({kind.control for kind in KINDS.values()})
    done = subprocess.run(
        [sys.executable, "-c", apply, *names], cwd=ROOT, capture_output=True, text=True, timeout=50
    )

    assert done.stdout.split("\n")[:-1] == [f"{name} 0" for name in names], done.stderr


def test_no_two_scenarios_have_one_id_and_no_control_is_left_over() -> None:
    ids = [kind.id for kind in Scenario.__subclasses__() if kind.__module__.startswith("tests.chaos.")]
    controls = importlib.import_module("tests.chaos.controls")
    files = {path.stem for folder in controls.__path__ for path in ROOT.joinpath(folder).glob("[!_]*.py")}

    assert len(ids) == len(set(ids))
    assert files == {kind.control for kind in KINDS.values()}


def test_a_row_is_a_line() -> None:
    assert ROW.line() == (
        "T01 seed=7 n=14,312 lost=0 (<2.1e-04) dup=37 overlap=0 double=0 changed=0 recover_p99=3.1s kills=5 "
        "residue=0 lag_p99=4ms cpu=50% took=20s valid=yes control=RED ok"
    )
    assert " lost=3 dup=" in with_(lost=3).line()


@pytest.mark.parametrize(
    "changes", [{"valid": False}, {"complaints": ["lost: 1"]}, {"control": "GREEN"}, {"control": "invalid"}]
)
def test_a_scenario_fails_for_a_complaint_a_green_control_or_no_valid_run(changes: dict[str, object]) -> None:
    assert ROW.passed
    assert with_(control="-").passed
    assert not with_(**changes).passed
    assert with_(**changes).line().endswith("FAILED")


def test_the_table_says_what_was_lost() -> None:
    recorded = page.Recorded("2026-11-29", "quick", 0.5, "3.11", "redis 7", 2, [ROW])

    assert "Of 14,312 tasks none was lost" in page.render(recorded)
    assert "| 37 (0.26%) | 0 | 3.1 s | red |" in page.render(recorded)
    assert "tasks 2 were lost" in page.render(msgspec.structs.replace(recorded, rows=[with_(lost=2)]))


def test_the_page_and_the_readme_show_the_recorded_run() -> None:
    """Made by the run, never by hand: `python -m tests.chaos --tier nightly --write`."""
    text = page.PAGE.read_text("utf-8")

    readme = page.README.read_text("utf-8")

    assert page.inserted(text, page.render(page.load())) == text
    assert page.inserted(readme, page.summary(page.load())) == readme
    assert all(row.passed for row in page.load().rows)
