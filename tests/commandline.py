"""The command line in this process: what a command says, and with which exit code it ends."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taskq.cli import run

ROOT = Path(__file__).parents[1]
MAIN = [sys.executable, "-c", "from taskq.cli import main; main()"]


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Taskq:
    """Calls commands as a shell would: `taskq("queues", "--json").json`."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Said:
        self._capsys.readouterr()
        code = run(arguments)
        said = self._capsys.readouterr()
        return Said(code, said.out, said.err)


def settle_in(monkeypatch: pytest.MonkeyPatch, folder: Path, url: str = "", namespace: str = "") -> None:
    """Let no variable, file and server of this machine have a say; the environment names these, if given."""
    for name in list(os.environ):
        if name.startswith(("TASKQ_", "REDIS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)
    if url:
        monkeypatch.setenv("TASKQ_REDIS_URL", url)
        monkeypatch.setenv("TASKQ_NAMESPACE", namespace)


def environment(**more: str) -> dict[str, str]:
    """The environment of a command in a process of its own."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def on_a_terminal(*arguments: str, **more: str) -> str:
    """Give what a command shows on a terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*MAIN, *arguments],
        env=environment(TERM="xterm", COLUMNS="200", **more),
        stdin=subprocess.DEVNULL,
        stdout=child,
        stderr=subprocess.PIPE,
    )
    os.close(child)
    out = b""
    try:
        while some := os.read(parent, 65_536):
            out += some
    except OSError:
        pass  # how a terminal says that the other side is gone
    process.communicate(timeout=30)
    os.close(parent)
    return out.decode()
