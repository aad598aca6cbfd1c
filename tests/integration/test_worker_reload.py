"""`--reload`: changed code replaces the processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import wait_until
from tests.workers import Yard

MODULE = """
from taskq import TaskQ

app = TaskQ("own")


@app.task(name="tests.tests.apps.own.version")
def version() -> int:
    return {version}
"""


def test_changed_code_is_imported_by_new_processes(tmp_path: Path) -> None:
    pytest.importorskip("watchfiles")
    with Yard(tmp_path) as yard:
        folder = tmp_path / "code"
        folder.mkdir()
        module = folder / "own_reload.py"
        module.write_text(MODULE.format(version=1))
        worker = yard.worker("own_reload:app", app_dir=str(folder), reload=True)
        assert yard.send("own.version").result(timeout=10) == 1

        def changed() -> bool:
            # Again and again: the watching begins some time after the worker is ready.
            module.write_text(MODULE.format(version=2) + "\n" * (len(module.read_text()) % 2))
            return bool(yard.send("own.version").result(timeout=10) == 2)

        wait_until(changed, timeout=20, message=worker.tail)
        assert worker.says("changed: ")
        wait_until(lambda: worker.says("reloaded: 1 process(es)"), message=worker.tail)
        assert worker.stop() == 0
