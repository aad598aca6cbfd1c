"""The documentation names everything there is, and nothing that its links do not find."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

import taskq
from taskq import State, TaskContext, TaskHandle, TaskInfo, middleware
from taskq.cli.exits import Exit
from taskq.inspector.namespace_checks import NAMESPACE_CHECKS
from taskq.inspector.server_checks import SERVER_CHECKS
from tests.cited import CODE, anchors
from tests.doctables import DOCS, ROOT, commands

OTHERS = [ROOT / "CHANGELOG.md", ROOT / "deploy" / "README.md"]
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_VARIABLE = re.compile(r"\"(TASKQ_[A-Z_]+|XDG_STATE_HOME|NO_COLOR|REDIS_URL)\"")
_OWN_USE = {"TASKQ_TRIAL_DIRECTORY"}
"""Set by one part of taskq for another."""


def words(*pages: str) -> set[str]:
    """Give what stands in code in the text and the tables of pages, cut at what is no part of a name."""
    found: set[str] = set()
    for page in pages:
        for code in re.findall(r"`([^`]+)`", CODE.sub("", (DOCS / page).read_text("utf-8"))):
            found.update(re.findall(r"[\w.-]+", code))
    return found


def public(cls: type) -> set[str]:
    fields = (
        {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set[str]()
    )
    return {name for name in {*vars(cls), *fields} if not name.startswith("_")}


def test_everything_that_taskq_exports_is_documented() -> None:
    pages = [page.name for page in DOCS.glob("*.md") if page.name != "internals.md"]

    assert set(taskq.__all__) - words(*pages) == set()


def test_everything_that_a_task_can_know_is_documented() -> None:
    assert public(TaskContext) - {"task", "outlet"} - words("tasks.md") == set()


def test_everything_about_a_handle_is_documented() -> None:
    own = {"app", "codec", "confirmed", "end", "inbox"}

    assert public(TaskHandle) - own - words("results.md") == set()
    assert public(TaskInfo) - words("results.md") == set()
    assert {state.value for state in State} - words("results.md") == set()


def test_every_hook_is_documented() -> None:
    assert public(middleware.Middleware) - words("middleware.md") == set()


def test_every_check_of_the_doctor_is_documented() -> None:
    text = (DOCS / "server.md").read_text("utf-8")

    assert [name for name, _ in (*SERVER_CHECKS, *NAMESPACE_CHECKS) if f"| `{name}` |" not in text] == []


def test_every_exit_code_is_documented() -> None:
    text = (DOCS / "cli.md").read_text("utf-8")

    assert [code.name for code in Exit if f"| {code.value} |" not in text] == []


def test_every_command_is_documented() -> None:
    text = (DOCS / "cli.md").read_text("utf-8")

    assert [
        name for name, _ in commands() if not re.search(rf"`taskq {name}\b|`{name.rpartition(' ')[2]}`", text)
    ] == []


def test_every_variable_of_the_environment_is_documented() -> None:
    read: set[str] = set()
    for folder in ("taskq", "worker"):
        for path in (ROOT / folder).rglob("*.py"):
            read.update(_VARIABLE.findall(path.read_text("utf-8")))

    assert {"TASKQ_REDIS_URL", "NO_COLOR", "TASKQ_REDIS_SERVER"} <= read
    assert read - _OWN_USE - words("configuration.md") == set()


def test_the_site_and_the_index_name_every_page() -> None:
    site = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2]
    index = (DOCS / "index.md").read_text("utf-8")
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}

    assert set(re.findall(r": (\S+\.md)$", site, re.MULTILINE)) == pages
    assert {page for page in pages if f"({page})" not in index} == {"index.md"}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    lost: list[str] = []
    for link in _LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)

    assert lost == []
