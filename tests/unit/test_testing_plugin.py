"""pytest loads the plugin for everyone who has taskq: it must be there, and cost nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_what_a_task_raised_is_told_at_the_line_of_the_test_that_asked(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "from taskq import TaskQ\n"
        "app = TaskQ('own')\n"
        "@app.task(max_retries=0)\n"
        "def boom():\n"
        "    raise ValueError('of the task')\n"
        "def test_it():\n"
        "    with app.testing('inline'):\n"
        "        boom.enqueue().result()\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "--show-capture=no", "test_own.py"]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=50, check=False
    )

    assert done.returncode == 1, done.stdout
    assert "ValueError: of the task" in done.stdout
    assert "test_own.py:8: TaskFailed" in done.stdout
    assert "handle.py:" not in done.stdout


def test_pytest_finds_the_plugin_and_it_loads_nothing_that_can_wait() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plugin: str = project["entry-points"]["pytest11"]["taskq"]
    code = f"import sys, {plugin} as plugin; assert plugin.taskq_server, plugin.taskq_worker; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True, timeout=50).split()

    assert plugin in loaded
    assert {"redis", "fakeredis", "taskq.worker", "taskq.cli"} & set(loaded) == set()
