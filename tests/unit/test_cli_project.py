from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from taskq.cli import run
from taskq.cli.exits import Exit
from taskq.cli.loading import resolve_app_spec
from taskq.errors import ConfigurationError
from taskq.loading import load_app
from tests.commandline import settle_in


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty project."""
    settle_in(monkeypatch, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def settings(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, tuple[Any, str]]:
    assert run(["config", "show", "--json", *arguments]) == Exit.OK
    shown = json.loads(capsys.readouterr().out)["settings"]
    return {one["name"]: (one["value"], one["source"]) for one in shown}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(arguments) == Exit.USAGE
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_each_setting_says_where_its_value_comes_from(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "pyproject.toml").write_text(
        '[tool.taskq]\napp = "shop_a:app"\n[tool.taskq.worker]\nprocesses = 4\nqueues = ["mail", "default"]\n'
    )
    (project / "shop_a.py").write_text(
        "from taskq import TaskQ\n"
        "app = TaskQ('shop', redis_url='redis://:hunter2@h/1', namespace='mine', lease=9, result_ttl='1h')\n"
    )
    monkeypatch.setenv("TASKQ_RESULT_TTL", "2m")
    monkeypatch.setenv("TASKQ_WORKER_CONCURRENCY", "3")

    found = settings(capsys)

    assert found["app"] == ("shop_a:app", "pyproject.toml")
    assert found["namespace"] == ("mine", "app shop_a:app")
    assert found["url"] == ("redis://***@h:6379/1", "app shop_a:app")
    assert found["lease_ms"] == (9_000, "app shop_a:app")
    assert found["result_ttl_ms"] == (120_000, "environment TASKQ_RESULT_TTL")
    assert found["dead_ttl_ms"][1] == "default"
    assert found["worker.processes"] == (4, "pyproject.toml")
    assert found["worker.queues"] == ("mail,default", "pyproject.toml")
    assert found["worker.concurrency"][1] == "environment TASKQ_WORKER_CONCURRENCY"


def test_the_url_is_looked_for_in_one_order(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "shop_b.py").write_text(
        "from taskq import TaskQ\napp = TaskQ('shop', redis_url='redis://code')\n"
    )
    with_app = ("-A", "shop_b:app")
    assert settings(capsys)["url"] == (None, "nothing names a server, and no embedded one runs")

    monkeypatch.setenv("REDIS_URL", "redis://last")
    assert settings(capsys)["url"] == ("redis://last:6379/0", "environment REDIS_URL")
    assert settings(capsys, *with_app)["url"] == ("redis://code:6379/0", "app shop_b:app")

    monkeypatch.setenv("TASKQ_REDIS_URL", "redis://variable")
    assert settings(capsys, *with_app)["url"] == ("redis://variable:6379/0", "environment TASKQ_REDIS_URL")
    line = ("--url", "redis://line")
    assert settings(capsys, *with_app, *line)["url"] == ("redis://line:6379/0", "command line")


@pytest.mark.parametrize("name", ["url", "redis_url", "redis-url", "namespace"])
@pytest.mark.parametrize("table", ["[tool.taskq]", "[tool.taskq.worker]"])
def test_a_project_may_not_say_where_tasks_go(
    table: str, name: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pyproject.toml").write_text(f'{table}\n{name} = "x"\n')

    assert f"may not set {name!r}" in refused(capsys, "queues")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.taskq]\nprocesses = 4\n", "'processes' is no setting"),
        ("[tool.taskq.nope]\nx = 4\n", "'nope' is no setting"),
        ("[tool]\ntaskq = 4\n", "is no table"),
        ("[tool.taskq.worker]\nprocess = 4\n", "no option 'process'"),
        ("[tool.taskq\n", "cannot be read"),
    ],
)
def test_what_has_no_meaning_in_a_project_is_refused(
    text: str, said: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pyproject.toml").write_text(text)

    assert said in refused(capsys, "worker")


def test_a_wrong_type_in_a_project_names_the_option(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "pyproject.toml").write_text('[tool.taskq.worker]\nconcurrency = "many"\n')

    assert "--concurrency" in refused(capsys, "worker", "shop:app")


def test_a_project_file_of_others_is_no_matter(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "pyproject.toml").write_text("[tool.other]\nurl = 4\n")

    assert settings(capsys)["app_dir"] == (".", "default")


def test_the_argument_counts_more_than_the_option() -> None:
    assert resolve_app_spec("a:app", "b:app") == "a:app"
    assert resolve_app_spec(None, "b:app") == "b:app"
    with pytest.raises(ConfigurationError, match="TASKQ_APP"):
        resolve_app_spec(None, None)


@pytest.mark.parametrize(
    "spec", ["shop", "shop:", ":app", "../shop:app", "shop/app.py:app", "os:system('x')", "a:b;c", "é:app"]
)
def test_an_app_that_is_not_module_and_attribute_is_refused(spec: str) -> None:
    with pytest.raises(ConfigurationError, match="MODULE:APP"):
        load_app(spec)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_at_all", "importing shop_c failed: ModuleNotFoundError"),
        ("def f(:\n  pass", "importing shop_c failed: SyntaxError"),
        ("\n\nraise ValueError('boom')", "ValueError: boom (shop_c.py, line 3)"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
        ("x = 1", "shop_c has no 'app'"),
        ("from taskq import TaskQ\nmine = TaskQ('x')", "shop_c:mine"),
        ("app = 1", "shop_c:app is of type int, not a TaskQ"),
    ],
)
def test_an_app_that_cannot_be_loaded_is_told_in_one_line(
    source: str, said: str, project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "shop_c", raising=False)
    (project / "shop_c.py").write_text(source)

    assert said in refused(capsys, "enqueue", "x", "-A", "shop_c:app")
