"""What the documentation says is so: every program and every command of it runs, and so do the examples."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq.broker import embedded
from tests.docpages import ROOT, Reader, Untrue, blocks, commands
from tests.servers import NoServer, RedisServer

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
KINDS = {"python", "console", "text", "toml", "lua"}


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server as an operator would run it who wants every durability to be had."""
    try:
        server = RedisServer("valkey", tmp_path_factory.mktemp("docs-server"), "--appendfsync", "always")
    except NoServer as error:
        pytest.skip(str(error))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def terminal(own_server: RedisServer) -> dict[str, str]:
    """The environment of a reader who has named the server."""
    told = {name: value for name, value in os.environ.items() if "TASKQ_" not in name and name != "REDIS_URL"}
    return told | {"TASKQ_REDIS_URL": own_server.url, "TASKQ_NAMESPACE": f"docs-{uuid.uuid4().hex[:12]}"}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_does_what_it_says(
    page: Path, terminal: dict[str, str], own_server: RedisServer, tmp_path: Path
) -> None:
    if brings_its_own_server(page):
        del terminal["TASKQ_REDIS_URL"]
    try:
        Reader(page, tmp_path, terminal, own_server.url).read()
    finally:
        for place in (tmp_path / "state" / "taskq").glob("*"):
            embedded.stop("docs", directory=place)


def brings_its_own_server(page: Path) -> bool:
    return any(command.startswith("taskq dev") for block in blocks(page) for command, _ in commands(block))


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("python", "print(1)\n#> 2\n", r"prints \['1'\], not \['2'\]"),
        ("python", "1 / 0\n", "ZeroDivisionError"),
        ("python", "# lost.py\nimport nowhere\n", "No module named 'nowhere'"),
        ("python", "# lost.py: python lost.py\nraise SystemExit(7)\n", "exit code 7, not 0"),
        ("python", "# examples/shop.py\nprint(1)\n", "examples/shop.py has another text"),
        ("console", "$ taskq version    # exit code 4\n", "exit code 0, not 4"),
        ("console", "$ taskq queues --url nonsense\n", "exit code 2, not 0"),
        ("console", "$ taskq version\ntaskq 0.0.0\n", "prints no 'taskq 0.0.0'"),
        ("console", "$ taskq worker nowhere:app\n", "has ended by itself"),
        (
            "python",
            "# own.py\ndef one(): ...\n```\n```python\n# own.py, changed\ndef two(): ...\n",
            "no function two",
        ),
        ("console", "$ rm -r data\n", "mark it"),
    ],
)
def test_a_page_that_says_what_is_not_so_fails(
    kind: str, text: str, said: str, terminal: dict[str, str], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n```{kind}\n{text}```\n")

    with pytest.raises(Untrue, match=said):
        Reader(page, tmp_path, terminal).read()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_says_what_it_is(page: Path) -> None:
    assert {block.kind for block in blocks(page)} <= KINDS


@pytest.mark.timeout(120)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(example: Path, terminal: dict[str, str], tmp_path: Path) -> None:
    """Each is a module with an app, which a worker runs, and a program that uses it."""
    log = tmp_path / "worker.log"
    python = [sys.executable, "-W", "error"]
    environ = {**terminal, "PYTHONPATH": str(ROOT)}
    with log.open("wb") as file, subprocess.Popen(
        [sys.executable, "-m", "taskq", "worker", f"examples.{example.stem}:app"],
        cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
    ) as worker:  # fmt: skip
        try:
            done = subprocess.run(
                [*python, f"examples/{example.name}"],
                cwd=ROOT,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=40,
            )
        finally:
            worker.terminate()
            code = worker.wait(20)

    assert done.returncode == 0, f"{done.stderr}\n{log.read_text()}"
    assert code == 0, log.read_text()
