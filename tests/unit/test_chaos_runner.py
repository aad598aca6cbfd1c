"""What counts as a run of the torture suite, and what a control proves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import runner
from tests.chaos.checker import Complaint, Evidence, check
from tests.chaos.ledger import Entry
from tests.chaos.rows import Row
from tests.chaos.runner import Played
from tests.chaos.scenario import Scenario

LOST = Complaint("lost", "1, as a")
SLOW = Complaint("slow", "9 s")


class Mishap(Scenario):
    """X1: something goes wrong."""

    id = "X1"
    fault = "something"
    control = "broken_so"
    shows = ("lost", "double")


Run = Callable[..., Row]


def played(*complaints: Complaint, valid: bool = True) -> Played:
    entries = [Entry(1, 1, "accept", "a"), Entry(2, 1, "start", "a", 1, 1), Entry(3, 1, "end", "a", 1, 1)]
    return Played(check(Evidence(entries, {"a": "S"})), list(complaints), {}, 0.5, 0.5, valid)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Have a scenario run that comes to what is given, first as it is, then by its control."""

    def run(plain: list[Played], broken: list[Played], *, controls: bool = True) -> Row:
        runs = {"": list(plain), "broken_so": list(broken)}

        def play(kind: type[Scenario], seed: int, scale: float, folder: Path, control: str) -> Played:
            folder.mkdir(exist_ok=True)
            return runs[control].pop(0)

        monkeypatch.setattr(runner, "play", play)
        row = runner.run(Mishap, 7, 0.5, tmp_path, controls=controls)
        assert not any(runs.values()), "it was not run as often as it should be"
        return row

    return run


def test_a_good_run_and_a_control_that_shows_what_it_is_to_show_pass_and_leave_nothing(
    run: Run, tmp_path: Path
) -> None:
    row = run([played()], [played(SLOW, LOST)])

    assert row.passed
    assert (row.control, row.accepted, row.seed) == ("RED", 1, 7)
    assert list(tmp_path.iterdir()) == []


def test_a_control_that_shows_nothing_or_something_else_is_green_and_fails(run: Run, tmp_path: Path) -> None:
    for shown in ([], [SLOW]):
        row = run([played()], [played(*shown)])

        assert not row.passed
        assert row.control == "GREEN"
        assert [path.name for path in tmp_path.iterdir()] == ["X1-control"]


def test_a_complaint_fails_and_keeps_what_the_run_left(run: Run, tmp_path: Path) -> None:
    row = run([played(LOST)], [played(LOST)])

    assert not row.passed
    assert row.complaints == ["lost: 1, as a"]
    assert [path.name for path in tmp_path.iterdir()] == ["X1"]


def test_a_run_that_the_machine_disturbed_is_repeated_whatever_it_showed(run: Run) -> None:
    disturbed = played(LOST, valid=False)

    assert run([disturbed, played()], [disturbed, disturbed, played(LOST)]).passed


def test_three_disturbed_runs_fail_and_so_do_three_of_the_control(run: Run) -> None:
    row = run([played(valid=False)] * 3, [played(LOST)])
    assert not row.valid
    assert not row.passed

    row = run([played()], [played(LOST, valid=False)] * 3)
    assert row.control == "invalid"
    assert not row.passed


def test_without_controls_none_is_run(run: Run) -> None:
    row = run([played()], [], controls=False)

    assert row.passed
    assert row.control == "-"
