"""The projects of examples/coming do the same before and after: with another queue's own worker, and with taskq's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.benchmarks.peers.environments import PEERS, installed
from tests.mail import MailServer
from tests.servers import NoServer, RedisServer

ROOT = Path(__file__).parents[2]
PROJECTS = ROOT / "examples" / "coming"
WORKERS = {
    "celery": ("celery", "-A", "tasks", "worker", "-Q", "mail,celery", "-c", "2", "-l", "INFO"),
    "rq": ("rq", "worker", "mail", "default", "--with-scheduler"),
    "arq": ("arq", "tasks.WorkerSettings"),
    "dramatiq": ("dramatiq", "tasks", "-p", "1", "-t", "2"),
}
SAID = """\
total 4250
receipts for ['ann@example.org', 'busy@example.org']
the receipt for order 3 was refused
reminded
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    try:
        server = RedisServer("redis", tmp_path_factory.mktemp("redis"), aof=False)
    except NoServer as error:
        pytest.skip(str(error))
    server.start()
    yield server
    server.stop()


def test_each_project_has_a_worker_to_run_it() -> None:
    assert {folder.name for folder in PROJECTS.iterdir()} == set(WORKERS)


@pytest.mark.parametrize("peer", WORKERS)
def test_a_page_names_the_version_that_it_was_held_against(peer: str) -> None:
    _, _, version = PEERS[peer][0].partition("==")

    assert f" {version} " in (ROOT / "docs" / f"coming-from-{peer}.md").read_text("utf-8")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("peer", WORKERS)
def test_a_project_does_the_same_before_and_after(peer: str, redis: RedisServer, tmp_path: Path) -> None:
    python = installed(peer)
    if python is None:
        pytest.skip(f"{peer} is not installed: python -m tests.benchmarks.peers --install {peer}")
    redis.call("FLUSHALL")
    theirs = (str(python.parent / WORKERS[peer][0]), *WORKERS[peer][1:])
    ours = (sys.executable, "-m", "taskq", "worker", "tasks:app")

    with ThreadPoolExecutor() as threads:
        before = threads.submit(use, PROJECTS / peer / "before", python, theirs, redis, tmp_path / "before")
        after = threads.submit(
            use, PROJECTS / peer / "after", Path(sys.executable), ours, redis, tmp_path / "after"
        )

    for said, tried, delivered in (before.result(), after.result()):
        assert said == SAID
        assert delivered == {"ann@example.org": 1, "busy@example.org": 1, "bob@example.org": 1}
        assert tried == {
            "ann@example.org": 1,
            "busy@example.org": 3,
            "bob@example.org": 1,
            "nobody@example.org": 1,
        }


def use(
    project: Path, python: Path, worker: tuple[str, ...], redis: RedisServer, log: Path
) -> tuple[str, Counter[str], Counter[str]]:
    """Run a project's worker and its program; give what it prints, and the mails tried and delivered."""
    with MailServer() as mails, log.open("wb") as file:
        environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TASKQ_")},
            "PYTHONPATH": f"{project}{os.pathsep}{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "REDIS_URL": redis.url,
            "RQ_REDIS_URL": redis.url,
            "SMTP_HOST": mails.host,
            "SMTP_PORT": str(mails.port),
        }
        running = subprocess.Popen(
            worker, cwd=log.parent, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
        try:
            done = subprocess.run(
                [python, project / "checkout.py"],
                cwd=log.parent,
                env=environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=90,
            )
        finally:
            running.terminate()
            running.wait(30)
    assert done.returncode == 0, f"{done.stderr}\n{log.read_text()}"
    return done.stdout, mails.tried, mails.delivered
