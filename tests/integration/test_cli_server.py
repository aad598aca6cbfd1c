"""`taskq server`: the embedded server by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskq.broker import keeper
from taskq.cli.server import server as server_command


def _taskq_server(*arguments: str) -> Result:
    return CliRunner().invoke(server_command, arguments)


def test_the_command_line_starts_shows_and_stops_the_server(place: Path) -> None:
    here = ["--namespace", "shop", "--dir", str(place)]

    assert _taskq_server("status", *here).exit_code == 1
    started = _taskq_server("start", *here)
    assert started.exit_code == 0
    assert started.output.startswith("started: ")
    assert f"embedded://{place}" in started.output
    assert _taskq_server("start", *here).output.startswith("already running: ")
    assert _taskq_server("status", *here).output.startswith("running: ")
    assert (place / "keep").exists()
    assert _taskq_server("stop", *here).output == "stopped\n"
    assert _taskq_server("stop", *here).output == "not running\n"


def test_the_command_line_prints_json_without_the_password(place: Path) -> None:
    here = ["--namespace", "shop", "--dir", str(place), "--json"]

    assert json.loads(_taskq_server("status", *here).output) == {"namespace": "shop", "running": False}
    started = _taskq_server("start", *here)
    told = json.loads(started.output)
    assert (told["running"], told["started"], told["durable"]) == (True, True, True)
    assert told["url"] == f"embedded://{place}"
    state = keeper.read_state(place)
    assert state
    assert state.password not in started.output + _taskq_server("status", *here).output
    assert json.loads(_taskq_server("stop", *here).output)["stopped"] is True


@pytest.mark.parametrize(
    "arguments", [["--namespace", "a b"], ["--dir", "/dev/null"], ["--dir", "/dev/null/x"], ["--nonsense"]]
)
def test_the_command_line_refuses_bad_usage_with_code_2(arguments: list[str]) -> None:
    refused = _taskq_server("start", *arguments)

    assert refused.exit_code == 2
    assert "Traceback" not in refused.output


def test_the_command_line_tells_a_failed_start_by_code_3(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "my-server"
    broken.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Redis server v=7.2.0'\n")
    broken.chmod(0o755)
    monkeypatch.setenv("TASKQ_REDIS_SERVER", str(broken))

    failed = _taskq_server("start", "--dir", str(place))
    assert failed.exit_code == 3
    assert len(failed.output.splitlines()) == 1
