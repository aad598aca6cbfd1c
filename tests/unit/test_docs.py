"""The documentation names everything there is, and nothing that its links do not find."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import taskq
from taskq import RetryPolicy, State, TaskContext, TaskHandle, TaskInfo, TaskQ, errors, middleware
from taskq.cli.exits import Exit
from taskq.cli.root import COMMANDS, root
from taskq.inspector.namespace_checks import NAMESPACE_CHECKS
from taskq.inspector.server_checks import SERVER_CHECKS
from taskq.options import TaskParameters
from taskq.sending import Sender

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_VARIABLE = re.compile(r"\"(TASKQ_[A-Z_]+|XDG_STATE_HOME|NO_COLOR|REDIS_URL)\"")
_OWN_USE = {"TASKQ_DEMO_DIRECTORY"}
"""Set by one part of taskq for another."""


def words(*pages: str) -> set[str]:
    """Give what stands in code in the text and the tables of pages, cut at what is no part of a name."""
    found: set[str] = set()
    for page in pages:
        for code in re.findall(r"`([^`]+)`", _CODE.sub("", (DOCS / page).read_text("utf-8"))):
            found.update(re.findall(r"[\w.-]+", code))
    return found


def parameters(function: object) -> set[str]:
    assert callable(function)
    return set(inspect.signature(function).parameters) - {"self"}


def public(cls: type) -> set[str]:
    fields = (
        {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set[str]()
    )
    return {name for name in {*vars(cls), *fields} if not name.startswith("_")}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by the words it is called with."""
    context = click.Context(root)
    for section in COMMANDS.values():
        for name in section:
            command = root.get_command(context, name)
            assert command is not None, name
            if isinstance(command, click.Group):
                yield from ((f"{name} {inner}", found) for inner, found in command.commands.items())
            else:
                yield name, command


def test_everything_that_taskq_exports_is_documented() -> None:
    pages = [page.name for page in DOCS.glob("*.md") if page.name != "internals.md"]

    assert set(taskq.__all__) - words(*pages) == set()


def test_every_error_has_its_remedy() -> None:
    found = {
        name for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)
    }

    assert found - words("errors.md") == set()


def test_every_option_of_a_task_is_documented() -> None:
    assert {*TaskParameters.__annotations__} - words("tasks.md") == set()


def test_every_option_of_a_call_is_documented() -> None:
    assert parameters(Sender.using) - words("enqueueing.md") == set()


def test_every_argument_of_an_app_is_documented() -> None:
    assert parameters(TaskQ) - words("configuration.md") == set()


def test_every_field_of_a_policy_is_documented() -> None:
    assert {field.name for field in dataclasses.fields(RetryPolicy)} - words("retries.md") == set()


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


def test_every_command_and_each_of_its_options_is_documented() -> None:
    text = (DOCS / "cli.md").read_text("utf-8")
    known = words("cli.md", "workers.md", "server.md")
    undocumented: list[str] = []
    for name, command in commands():
        if not re.search(rf"`taskq {name}\b|`{name.rpartition(' ')[2]}`", text):
            undocumented.append(name)
        options = [param.opts for param in command.params if isinstance(param, click.Option)]
        undocumented += [f"{name} {names}" for names in options if not known.issuperset(names)]

    assert undocumented == []


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    lost: list[str] = []
    for link in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)

    assert lost == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
