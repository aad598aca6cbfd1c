"""What a worker logs, beside what the app logs: who of the two has set up logging."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from taskq.cli.exits import Exit
from tests.commandline import MAIN, environment, settle_in
from tests.servers import RedisServer
from tests.support import wait_until
from tests.workers import Worker, Yard

APP = """
import logging.config

from taskq import TaskQ

{setup}
app = TaskQ("shop")


@app.task
def say(text: str) -> None:
    logging.getLogger("shop").info(text)
    logging.getLogger("shop").debug("not so loud")
"""
DICT = """logging.config.dictConfig({{
    "version": 1,
    "disable_existing_loggers": {disable},
    "formatters": {{"own": {{"format": "OWN %(name)s %(message)s"}}}},
    "handlers": {{"own": {{"class": "logging.StreamHandler", "formatter": "own"}}}},
    "root": {{"handlers": ["own"], "level": "INFO"}},
}})"""


def worked(yard: Yard, setup: str) -> Worker:
    """Have a worker run one task of an app that sets up logging like this, and stop."""
    (yard.folder / "shop.py").write_text(APP.format(setup=setup))
    worker = yard.worker("shop:app", app_dir=str(yard.folder))
    yard.app.enqueue("shop.shop.say", "one cup", queue="default").result(timeout=10)
    wait_until(lambda: worker.says("one cup"))
    assert worker.stop() == 0
    return worker


def test_lines_of_an_app_that_sets_up_no_logging_come_as_the_workers_own(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = worked(yard, "")

    assert [(line["logger"], line["level"]) for line in worker.says("one cup")] == [("shop", "info")]
    assert not worker.says("not so loud")
    assert [line["logger"] for line in worker.says("1 succeeded")] == ["taskq.worker"]


@pytest.mark.parametrize(
    "setup",
    ['logging.basicConfig(level="INFO", format="OWN %(name)s %(message)s")', DICT.format(disable=False)],
    ids=["basicConfig", "dictConfig"],
)
def test_an_app_that_sets_up_logging_keeps_its_format_for_all_lines_of_its_processes(
    tmp_path: Path, setup: str
) -> None:
    with Yard(tmp_path) as yard:
        worker = worked(yard, setup)

    assert [line["message"] for line in worker.says("one cup")] == ["OWN shop one cup"]
    [succeeded] = worker.says("1 succeeded")
    assert succeeded["message"].startswith("OWN taskq.worker 1 succeeded")
    assert [line["logger"] for line in worker.says("stopped")] == ["taskq.worker"], "the supervisor's"


def test_dict_config_turns_taskqs_lines_off_where_it_is_not_told_otherwise(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = worked(yard, DICT.format(disable=True))

    assert worker.says("one cup")
    assert not worker.says("1 succeeded")


def test_a_worker_for_which_no_server_is_named_ends_and_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle_in(monkeypatch, tmp_path)
    (tmp_path / "shop.py").write_text(APP.format(setup=""))
    ended = subprocess.run(
        [*MAIN, "worker", "shop:app"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert ended.returncode == Exit.BROKER
    assert "TASKQ_REDIS_URL" in ended.stderr


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_worker_warns_of_a_server_that_evicts_and_says_what_has_vanished(
    tmp_path: Path, policy: str
) -> None:
    server = RedisServer("redis", tmp_path / "server", "--maxmemory-policy", policy)
    with Yard(tmp_path, server=server) as yard:
        worker = yard.worker("quick")
        [line] = wait_until(lambda: worker.says(f"maxmemory-policy is {policy}"))
        assert line["level"] == "warning"

        keys = yard.app.broker.keys[0]
        server.call("RPUSH", keys.ready("default", 5), "ghost")
        yard.app.enqueue("unknown", queue="default")  # wakes it

        wait_until(lambda: worker.says("1 task(s) have vanished"))
        assert [line["level"] for line in worker.says("have vanished")] == ["error"]
        server.call("DEL", keys.limbo)
        assert worker.stop() == 0


def test_a_worker_says_nothing_of_a_server_that_evicts_nothing(tmp_path: Path) -> None:
    with Yard(tmp_path) as yard:
        worker = yard.worker("quick")

        assert worker.stop() == 0
        assert worker.says("tests.apps.quick:app")
        assert not worker.says("maxmemory-policy")
