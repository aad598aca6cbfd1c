"""The list of cases that other projects learned the hard way says nothing that is not there."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.chaos.scenario import all_scenarios

ROOT = Path(__file__).parents[2]
PROJECTS = {"asynq", "bullmq", "docket", "celery", "rq", "dramatiq"}
LATER = {"cluster", "events", "flows", "limits", "progress", "releases", "schedules"}

Row = dict[str, str]


def rows() -> dict[str, dict[str, Row]]:
    return tomllib.loads((ROOT / "tests/chaos/ported.toml").read_text())


@cache
def names_in(file: str) -> set[str]:
    """The names of a file's functions, those in classes too; none if it is not there."""
    path = ROOT / file
    nodes = ast.walk(ast.parse(path.read_text())) if path.is_file() else ()
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@cache
def anchors_of(page: str) -> set[str]:
    """The anchors of a page's headings, as the site and GitHub make them."""
    path = ROOT / page
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE) if path.is_file() else []
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def complaint(row: Row) -> str:
    """Say what is wrong with a row, nothing if it is well."""
    match row:
        case {"test": test, **rest} if not rest:
            file, _, name = test.partition("::")
            name = name.partition("[")[0]
            return "" if name.startswith("test_") and name in names_in(file) else f"there is no {test}"
        case {"scenario": id, **rest} if not rest:
            return "" if id in all_scenarios() else f"there is no scenario {id}"
        case {"impossible": why, "see": see, **rest} if not rest:
            page, _, anchor = see.partition("#")
            return "" if why.endswith(".") and anchor in anchors_of(page) else f"there is no {see}"
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
