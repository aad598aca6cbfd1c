"""pytest loads the plugin for everyone who has taskq: it must be there, and cost nothing."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_pytest_finds_the_plugin_and_it_loads_nothing_that_can_wait() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plugin: str = project["entry-points"]["pytest11"]["taskq"]
    code = f"import sys, {plugin} as plugin; assert plugin.taskq_server, plugin.taskq_worker; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True, timeout=50).split()

    assert plugin in loaded
    assert {"redis", "fakeredis", "taskq.worker", "taskq.cli"} & set(loaded) == set()
