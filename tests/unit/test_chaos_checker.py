"""What the torture suite's checker sees: each verdict both ways."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.chaos import ledger
from tests.chaos.checker import Complaint, Evidence, bound, check, percentile, spans
from tests.chaos.ledger import Entry, Follower

S = 1_000_000_000


def entry(second: float, event: str, id: str = "a", pid: int = 1, fence: int = 1, word: str = "-") -> Entry:
    return Entry(round(second * S), pid, event, id, 1, fence, word)


def killed(second: float, pid: int, word: str = "child") -> Entry:
    return Entry(round(second * S), 99, "kill", "-", pid, 0, word)


GOOD = [
    entry(1, "accept"),
    entry(2, "start"),
    entry(3, "end"),
    entry(3.1, "commit", word="S"),
]
AGAIN = [
    entry(1, "accept"),
    entry(2, "start", pid=1, fence=1),
    killed(2.5, 1),
    entry(4, "start", pid=2, fence=2),
    entry(5, "end", pid=2, fence=2),
    entry(5.1, "commit", pid=2, fence=2, word="S"),
]


def well(entries: Sequence[Entry], residue: Sequence[str] = ()) -> Evidence:
    """What the server says in the best case."""
    return Evidence(entries, {"a": "S"}, {"a": ["S|1"]}, {"a": 1}, residue)


def kinds(evidence: Evidence) -> list[str]:
    return [complaint.kind for complaint in check(evidence).complaints()]


def test_a_task_that_ran_and_ended_is_no_complaint() -> None:
    found = check(well(GOOD))

    assert found.complaints() == []
    assert (found.accepted, found.starts, found.duplicates) == (1, 1, 0)


def test_a_task_that_ran_again_after_a_kill_is_a_duplicate_and_no_complaint() -> None:
    found = check(well(AGAIN))

    assert found.complaints() == []
    assert (found.duplicates, found.overlaps) == (1, [])
    assert found.recovered_s == {"child": [1.5]}


def test_a_task_that_never_ran_to_its_end_is_lost_whatever_the_server_says() -> None:
    for entries in (GOOD[:1], GOOD[:2], [*GOOD[:2], entry(3, "end", word="ValueError")]):
        assert kinds(well(entries)) == ["lost"]


@pytest.mark.parametrize("state", ["F", "C", "E", "p"])
def test_a_task_that_failed_was_cancelled_expired_or_is_parked_is_not_lost_but_has_to_be_meant(
    state: str,
) -> None:
    assert kinds(Evidence(GOOD[:1], {"a": state})) == ["undeserved"]


def test_a_task_that_no_one_was_told_of_is_unexpected_and_one_whose_caller_was_left_in_doubt_is_not() -> None:
    stray = [*GOOD, entry(4, "start", "b"), entry(5, "end", "b")]

    assert kinds(well(stray)) == ["unexpected"]
    found = check(well([entry(0, "unknown", "b"), *stray]))
    assert found.complaints() == []
    assert found.unknown == 1


def test_runs_of_one_task_that_intersect_overlap() -> None:
    both = [
        entry(1, "accept"),
        entry(2, "start", pid=1, fence=1),
        entry(3, "start", pid=2, fence=2),
        entry(4, "end", pid=1, fence=1),
        entry(5, "end", pid=2, fence=2),
    ]

    assert check(well(both)).overlaps == ["a"]
    assert check(well(AGAIN)).overlaps == []


def test_a_run_without_an_end_lasts_until_its_process_was_killed_or_wrote_for_the_last_time() -> None:
    [first, _] = spans(AGAIN)
    [open_span] = spans([entry(2, "start"), entry(6, "accept", "b"), entry(7, "accept", "c", pid=2)])

    assert (first.end, open_span.end) == (2.5 * S, 6 * S)


def test_two_outcomes_for_one_claim_or_two_final_ones_are_double() -> None:
    again = [*GOOD, entry(4, "commit", word="S")]
    two_claims = [*GOOD, entry(4, "commit", fence=2, word="F")]
    retried = [*GOOD[:3], entry(3.1, "commit", word="R"), entry(4, "commit", fence=2, word="S")]

    assert kinds(well(again)) == ["double"]
    assert kinds(well(two_claims)) == ["double"]
    assert kinds(Evidence(GOOD, {"a": "S"}, outcomes={"a": 2})) == ["double"]
    assert kinds(well(retried)) == []


def test_a_final_outcome_of_a_claim_is_stale_once_a_later_one_has_started() -> None:
    stale = [*GOOD[:3], entry(3.05, "start", pid=2, fence=2), GOOD[3]]
    released = [*GOOD[:2], entry(3.05, "start", pid=2, fence=2), entry(3.1, "commit", word="L"), GOOD[2]]

    assert kinds(well(stale)) == ["stale"]
    assert kinds(well(released)) == []


def test_a_start_before_the_due_time_is_early_and_one_after_is_late() -> None:
    def due(second: float) -> list[Entry]:
        return [entry(1, "accept", word=str(round(second * S))), *GOOD[1:]]

    assert kinds(well(due(2.1))) == ["early"]
    found = check(well(due(1.5)))
    assert found.complaints() == []
    assert found.late_s == [0.5]


def test_a_task_waits_from_its_acceptance_to_its_first_start() -> None:
    scheduled = [entry(1, "accept", word=str(S)), *GOOD[1:]]

    assert check(well(AGAIN)).waited_s == [1.0]
    assert check(well([entry(2.5, "accept"), *GOOD[1:]])).waited_s == [0.0]
    assert check(well(scheduled)).waited_s == []


def test_a_task_that_was_seen_to_end_in_two_ways_has_changed() -> None:
    assert kinds(Evidence(GOOD, {"a": "F"}, {"a": ["S|1", "F|2"]})) == ["undeserved", "changed"]
    assert kinds(Evidence(GOOD, {"a": "S"}, {"a": ["S|1", "S|1"]})) == []


@pytest.mark.parametrize("finals", [{}, {"a": "q"}, {"a": "r"}, {"a": "w"}])
def test_a_task_that_stands_nowhere_at_the_end_upsets_the_balance(finals: dict[str, str]) -> None:
    assert kinds(Evidence(GOOD, finals)) == ["unbalanced"]


def test_what_is_left_of_work_is_residue() -> None:
    assert kinds(well(GOOD, residue=["tq:{x:0}:b:a"])) == ["residue"]


def test_a_run_without_a_task_shows_nothing() -> None:
    assert kinds(Evidence([])) == ["empty"]


def test_only_runs_that_a_kill_has_cut_short_count_as_recovered() -> None:
    ended_before = [*GOOD, killed(3.5, 1), entry(4, "start", pid=2, fence=2)]
    nobody_killed = [entry for entry in AGAIN if entry.event != "kill"]

    assert check(well(ended_before)).recovered == []
    assert check(well(nobody_killed)).recovered == []


def test_work_resumes_with_the_next_start_after_each_return() -> None:
    def back(second: float) -> Entry:
        return entry(second, "back", "-", pid=99)

    found = check(well([*GOOD[:1], back(1.5), back(1.75), *GOOD[1:], back(9)]))

    assert found.resumed_s == [0.5, 0.25, math.inf]


def test_a_complaint_names_how_many_and_the_first_ones() -> None:
    lost = [entry(1, "accept", id) for id in "dcba"]
    [complaint] = check(Evidence(lost, dict.fromkeys("abcd", "S"))).complaints()

    assert complaint == Complaint("lost", "4, as a, b, c")


def test_percentiles_and_the_bound_of_what_was_not_seen() -> None:
    values = [float(value) for value in range(1, 101)]

    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1.0)) == (50.0, 99.0, 100.0)
    assert (percentile([7.0], 0.99), percentile([], 0.99)) == (7.0, 0.0)
    assert bound(15_000) == pytest.approx(2e-4)


def test_a_ledger_is_read_back_in_the_order_of_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path))
    ledger.write("accept", "a", word="123")
    ledger.write("start", "a", 2, 77)
    (tmp_path / "other").write_text("5 9 kill - 12 0 child\n")

    first, accept, start = ledger.read(tmp_path)

    assert first == Entry(5, 9, "kill", "-", 12, 0, "child")
    assert (accept.event, accept.word, start[2:]) == ("accept", "123", ("start", "a", 2, 77, "-"))
    assert accept.ns < start.ns


def test_a_line_that_is_half_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    path = tmp_path / "1"
    path.write_text("1 1 start a 1 1 -\n2 1 en")
    assert [entry.event for entry in follower.news()] == ["start"]
    with path.open("a") as file:
        file.write("d a 1 1 -\n")

    assert [entry.event for entry in follower.news()] == ["end"]
    assert follower.news() == []
