"""The list of cases that other projects learned the hard way says nothing that is not there."""

from __future__ import annotations

import tomllib

import pytest

from tests.chaos.scenario import all_scenarios
from tests.cited import ROOT, anchors, is_test

PORTED = ROOT / "tests/chaos/ported.toml"
PROJECTS = {"asynq", "bullmq", "docket", "celery", "rq", "dramatiq"}
LATER = {"cluster", "events", "flows", "limits", "progress", "releases", "schedules"}

Row = dict[str, str]


def rows() -> dict[str, dict[str, Row]]:
    return tomllib.loads(PORTED.read_text("utf-8"))


def complaint(row: Row) -> str:
    """Say what is wrong with a row, nothing if it is well."""
    match row:
        case {"test": test, **rest} if not rest:
            return "" if is_test(test) else f"there is no {test}"
        case {"scenario": id, **rest} if not rest:
            return "" if id in all_scenarios() else f"there is no scenario {id}"
        case {"impossible": why, "see": see, **rest} if not rest:
            page, _, anchor = see.partition("#")
            return "" if why.endswith(".") and anchor in anchors(ROOT / page) else f"there is no {see}"
        case {"later": feature, **rest} if not rest:
            return "" if feature in LATER else f"{feature} is no feature that is to come"
        case _:
            return f"{row} is no row"


def test_each_case_has_its_test_or_its_reason() -> None:
    assert set(rows()) == PROJECTS
    wrong = {
        case: told for cases in rows().values() for case, row in cases.items() if (told := complaint(row))
    }
    assert wrong == {}


@pytest.mark.parametrize(
    "row",
    [
        {"test": "tests/unit/test_ported.py::test_nothing"},
        {"test": "tests/unit/test_nothing.py::test_each_case_has_its_test_or_its_reason"},
        {"test": "tests/unit/test_ported.py::rows"},
        {"scenario": "T00"},
        {"impossible": "It cannot be.", "see": "docs/internals.md#nothing"},
        {"impossible": "It cannot be."},
        {"later": "never"},
        {"later": "flows", "test": "tests/unit/test_ported.py::test_each_case_has_its_test_or_its_reason"},
        {},
    ],
)
def test_a_row_that_names_what_is_not_there_is_found(row: Row) -> None:
    assert complaint(row)
