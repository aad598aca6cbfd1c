"""The tables of the documentation give each option with its default, and each error with its remedy."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from taskq import RetryPolicy, TaskQ, errors
from taskq.clock import to_ms
from taskq.config import VARIABLES, AppConfig
from taskq.options import TaskOptions, TaskParameters, options_of
from taskq.sending import Sender
from taskq.sizes import to_bytes
from tests import readme
from tests.cited import is_test
from tests.doctables import DOCS, Row, code, commands, rows

OF_WORKERS = ("worker", "dev")
"""Their options stand in a page of their own."""

_DURATION = re.compile(r"(\d+) ?(ms|s|min|m|h|days|d)\b")
_SIZE = re.compile(r"(\d+) ?(KB|MB)\b")


def options() -> Iterator[tuple[str, click.Option]]:
    for name, command in commands():
        yield from ((name, param) for param in command.params if isinstance(param, click.Option))


def belongs(row: Row, command: str) -> bool:
    """Whether a row of cli.md is about `command`: its second column names it, or all but some."""
    named = command in code(row["commands"])
    return not named if row["commands"].startswith("all") else named


def row_of(command: str, option: click.Option) -> Row | None:
    page, names = ("workers.md" if command in OF_WORKERS else "cli.md"), set(option.opts)
    for row in rows(DOCS / page, "option"):
        if names <= set(re.findall(r"-{1,2}[A-Za-z][\w-]*", row["option"])) and (
            command in OF_WORKERS or belongs(row, command)
        ):
            return row
    return None


def test_each_option_of_a_command_stands_with_its_default() -> None:
    wrong: list[str] = []
    for command, option in options():
        row = row_of(command, option)
        if row is None or not row["meaning"] or not says(row["default"], off_or(option)):
            wrong.append(f"{command} {' '.join(option.opts)}: {row}")

    assert wrong == []


def off_or(option: click.Option) -> Any:
    given = option.to_info_dict()["default"]
    if callable(given):  # it depends on the machine: the help says how
        return None
    return "off" if option.is_flag and not given else given or None


def test_tables_of_the_command_line_have_no_option_that_is_gone() -> None:
    there = {(command, name) for command, option in options() for name in option.opts}
    names = [command for command, _ in commands()]
    told = {
        (command, name)
        for row in rows(DOCS / "cli.md", "option")
        for command in names
        if command not in OF_WORKERS and belongs(row, command)
        for name in re.findall(r"`(-[^ `]+)", row["option"])
    }

    assert told - there - {(command, name) for command in names for name in ("-h", "--help")} == set()


def says(cell: str, default: Any) -> bool:
    """Whether a cell has `default`: as code, as text, or as an amount with its unit; None and lists in any words."""
    if default is None or default is msgspec.UNSET or (isinstance(default, tuple) and default):
        return bool(cell)
    if isinstance(default, str) and re.fullmatch(r"\d+[a-z]+", default):
        return milliseconds(cell) == to_ms(default)
    return str(default) in re.findall(r'[^`",:; ]+', cell)


def milliseconds(cell: str) -> int | None:
    found = _DURATION.search(cell)
    return found and to_ms(found[1] + {"min": "m", "days": "d"}.get(found[2], found[2]))


def test_each_setting_of_an_app_stands_with_default_unit_and_variable() -> None:
    told = {
        name: row for row in rows(DOCS / "configuration.md", "argument") for name in code(row["argument"])
    }
    wrong: list[str] = []
    for field in dataclasses.fields(AppConfig):
        name = field.name.removesuffix("_ms")
        if name == "shards":  # nothing sets it yet
            continue
        cell = told[name]["default"]
        if field.name.endswith("_ms"):
            right = milliseconds(cell) == field.default
        elif size := _SIZE.search(cell):
            right = to_bytes(size[1] + size[2]) == field.default
        else:
            right = says(cell, field.default)
        if (
            not right
            or VARIABLES[field.name] not in code(told[name]["variable"])
            or not told[name]["meaning"]
        ):
            wrong.append(field.name)

    assert wrong == []


def test_each_argument_of_an_app_stands_with_its_default() -> None:
    told = {
        name: row for row in rows(DOCS / "configuration.md", "argument") for name in code(row["argument"])
    }

    assert set(inspect.signature(TaskQ).parameters) == set(told)
    assert [name for name, row in told.items() if not row["default"] and name != "name"] == []


def test_each_variable_stands_with_its_default() -> None:
    told = list(rows(DOCS / "configuration.md", "variable"))

    assert told
    assert [row["variable"] for row in told if not row["default"] or not row["meaning"]] == []


def test_each_option_of_a_task_stands_with_its_default() -> None:
    told = {name: row["default"] for row in rows(DOCS / "tasks.md", "option") for name in code(row["option"])}
    defaults = {name: param.default for name, param in inspect.signature(options_of).parameters.items()}
    defaults |= {"queue": TaskOptions().queue, "max_retries": TaskOptions().retry.max_retries}

    assert set(told) == set(TaskParameters.__annotations__)
    assert [name for name, cell in told.items() if not says(cell, defaults.get(name))] == []


def test_each_option_of_a_call_stands_with_its_default() -> None:
    told = {
        name: row["default"] for row in rows(DOCS / "enqueueing.md", "option") for name in code(row["option"])
    }
    defaults = {name: param.default for name, param in inspect.signature(Sender.using).parameters.items()}
    del defaults["self"]

    assert set(told) == set(defaults)
    assert [name for name, cell in told.items() if not says(cell, defaults[name])] == []


def test_each_field_of_a_policy_stands_with_its_default() -> None:
    told = {name: row["default"] for row in rows(DOCS / "retries.md", "field") for name in code(row["field"])}
    wrong = [
        field.name for field in dataclasses.fields(RetryPolicy) if not says(told[field.name], field.default)
    ]

    assert wrong == []


def test_each_error_stands_with_its_remedy() -> None:
    told: dict[str, str] = {}
    for first in ("error", "type"):
        for row in rows(DOCS / "errors.md", first):
            told[code(row[first])[0].rpartition(".")[2]] = row["remedy"]
    public = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and kind.__module__ == errors.__name__
    }

    assert {name for name in public - {"TaskqError"} if not told.get(name)} == set()


def test_the_readme_can_be_read() -> None:
    assert len(readme.README.read_text("utf-8").splitlines()) <= 150


def test_each_promise_of_the_readme_names_a_test_that_exists() -> None:
    promises = list(rows(readme.README, ""))
    promises = [row for row in promises if "proved, among others, by" in row]
    named = [re.sub(r"\[(\w+)\]\((\S+)\)", r"\2::\1", row["proved, among others, by"]) for row in promises]

    assert sum(bool(row[""]) for row in promises) == 9
    assert [test for test in named if not is_test(test)] == []


def test_figures_of_the_readme_are_those_of_the_page_about_performance() -> None:
    wanted = {readme.ON_YOUR_OWN, readme.figures()} if readme.PAGE.exists() else {readme.ON_YOUR_OWN}

    assert readme.shown() in wanted, "`python -m tests.readme` writes them"


def test_figures_are_taken_by_the_names_of_queues_and_columns(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(
        "| queue | one process, results kept |\n| --- | --- |\n| **taskq** | 5 |\n| Other | 9 |\n| arq | 2 |\n\n"
        "| queue | one by one |\n| --- | --- |\n| arq | 3 |\n"
    )

    told = readme.figures(page)
    assert "| taskq | 5 | – | – | – | – |" in told
    assert "| arq | 2 | – | – | 3 | – |" in told
    assert "Other" not in told
