"""One secret, made up at random, goes every way there is; then it is looked for in all that was said anywhere."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import click
import psutil
import pytest

from taskq import Secret, TaskFailed, TaskQ
from taskq.broker.connect import parse_url
from taskq.cli import server_options
from taskq.cli.root import Root
from taskq.errors import TaskqError
from tests.apps import redacted
from tests.apps.redacted import Account
from tests.commandline import MAIN, ROOT, Taskq, environment, settle_in
from tests.servers import RedisServer
from tests.support import wait_until
from tests.workers import Yard

WORD = secrets.token_hex(16)
"""What is looked for. In the password it stands among what a URL has to escape."""

PASSWORD = f"p@ss:/{WORD}?#ü"
KEY = f"key{WORD}{WORD}"
ARGUMENTS = {
    "task": ["ID"], "result": ["ID"], "cancel": ["ID"], "replay": ["ID", "-A", "tests.apps.redacted:app"],
    "enqueue": ["unknown", "--args", "[1]"], "dead show": ["ID"], "dead requeue": ["ID"], "dead purge": ["ID", "--yes"],
    "pause": ["spare"], "resume": ["spare"], "purge": ["spare", "--yes"], "max-length": ["spare", "9"],
    "compat": ["tests.apps.redacted:app"], "completion": ["bash"], "config show": ["-A", "tests.apps.redacted:app"],
}  # fmt: skip
RUNS_ON = {"dev", "worker", "demo", "bench", "server start", "server stop"}
"""They do not end by themselves, or start servers: `worker` is below, the others use the embedded server's URL."""


def leaves(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command that there is, by its words."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from leaves(command, (*words, name))
        else:
            yield (*words, name)


COMMANDS = [words for words in leaves(Root()) if " ".join(words) not in RUNS_ON]


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    monkeypatch.setattr(server_options, "_PATIENCE_S", 0.05)
    with Yard(tmp_path) as yard:
        yard.server.call("ACL", "SETUSER", "ann", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        settle_in(monkeypatch, tmp_path, url_of(yard.server), yard.namespace)
        monkeypatch.setenv("TASKQ_SIGNING_KEYS", f"k1:{KEY}")
        monkeypatch.syspath_prepend(str(ROOT))
        yield yard
        redacted.app.use(None)


def url_of(server: RedisServer, password: str = PASSWORD, port: int = 0) -> str:
    return f"redis://ann:{quote(password, safe='')}@127.0.0.1:{port or server.port}/0"


def processes_of(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def test_it_stands_in_nothing_that_a_command_a_worker_or_an_error_says(
    yard: Yard, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with (tmp_path / "worker.log").open("wb") as log:
        # The URL on the command line, too, which `ps` shows: the worker's own title takes its place.
        words = [
            "worker",
            "tests.apps.redacted:app",
            "--log-level",
            "debug",
            "--log-tasks",
            "--url",
            url_of(yard.server),
        ]
        worker = subprocess.Popen(
            [*MAIN, *words], cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        app = TaskQ("tests", namespace=yard.namespace)
        leak = app.named(redacted.leak.name, "default")
        account = Account("bob", WORD, Secret(7))
        handle = leak.enqueue("ann", Secret(WORD), account, token=WORD)
        with pytest.raises(TaskFailed) as failed:
            handle.result(timeout=20)
        kept = (
            app.named(redacted.kept.name, "default")
            .using(headers={"x-password": WORD})
            .enqueue("ann", code=Secret(WORD))
        )
        kept.result(timeout=20)
        said += [
            str(failed.value),
            failed.value.traceback,
            *map(repr, (app, app.broker, app.config, handle, handle.info())),
        ]
        titles = [" ".join(process.cmdline()) for process in processes_of(worker.pid)]
        assert len(titles) == 2
        said += titles

        for id in (handle.id, kept.id):
            said += list(every_command(Taskq(capsys), id, monkeypatch, yard))
        for broken in broken_urls(yard):
            said.append(refusal_of(broken))
    finally:
        worker.terminate()
        assert worker.wait(20) == 0
    said.append((tmp_path / "worker.log").read_text())

    everything = "\n".join(said)
    assert [line[:300] for line in everything.splitlines() if WORD in line] == []
    assert quote(PASSWORD, safe="") not in everything
    for proof in ("<secret>", "***@127.0.0.1", "ValueError: ann <secret>", "k1", '"signature": "valid"'):
        assert proof in everything, proof


def every_command(taskq: Taskq, id: str, monkeypatch: pytest.MonkeyPatch, yard: Yard) -> Iterator[str]:
    """What all commands say: with the right password, a wrong one, a server that is away, a URL that is none."""
    urls = {
        "right": url_of(yard.server),
        "wrong": url_of(yard.server, f"wrong{PASSWORD}"),
        "away": url_of(yard.server, port=1),
        "none": f"redis://ann:{PASSWORD}@h:x/0",
    }
    for how, url in urls.items():
        monkeypatch.setenv("TASKQ_REDIS_URL", url)
        for words in COMMANDS:
            name = " ".join(words)
            arguments = [id if word == "ID" else word for word in ARGUMENTS.get(name, [])]
            for form in ([], ["--json"]) if how == "right" else ([],):
                done = taskq(*words, *arguments, *form)
                yield f"{done.out}\n{done.err}"
                assert "Traceback" not in done.err or "replay" in name, done.err
    monkeypatch.setenv("TASKQ_REDIS_URL", urls["right"])


def broken_urls(yard: Yard) -> Iterator[str]:
    yield url_of(yard.server, f"wrong{PASSWORD}")
    yield url_of(yard.server, port=1)
    yield f"redis://ann:{PASSWORD}@127.0.0.1:{yard.server.port}/0"
    yield f"redis+sentinel://:{WORD}@127.0.0.1:1/main/0?sentinel_password={WORD}"
    yield f"rediss://:{WORD}@127.0.0.1:1/0?ssl_password={WORD}"
    yield f"redis://127.0.0.1/0?password={WORD}&passwort={WORD}"
    yield f"unix:///nowhere?password={WORD}"


def refusal_of(url: str) -> str:
    try:
        app = TaskQ("tests", redis_url=url, patience=0.05)
        os.environ.pop("TASKQ_REDIS_URL", None)
        shown = f"{app.config!r} {parse_url(url)!r}"
        app.enqueue("unknown", queue="default")
    except TaskqError as error:
        chain: list[str] = []
        cause: BaseException | None = error
        while cause is not None:
            chain.append(f"{cause!r} {cause}")
            cause = cause.__cause__ or cause.__context__
        return "\n".join(chain)
    raise AssertionError(f"{shown} was reached")


def test_every_command_is_asked() -> None:
    assert len(COMMANDS) > 20
    assert {" ".join(words) for words in leaves(Root())} >= {*ARGUMENTS, *RUNS_ON}


def test_no_line_of_a_text_log_is_a_tasks(tmp_path: Path) -> None:
    """What a task raises steers no terminal, and begins no line as the worker's own lines begin."""
    with Yard(tmp_path) as yard:
        worker = yard.worker("outcomes", log_json=False)
        forged = "2026-01-01 00:00:00,000 1 INFO    taskq.worker: all is well"
        evil = f"\x1b]0;owned\x07\x9b31m\r\n{forged}\n{forged}"
        handle = yard.send("outcomes.fail", 9, evil, max_retries=0)
        assert yard.wait_ended([handle]) == {"failed": 1}
        wait_until(lambda: "all is well" in worker.path.read_text())
        assert worker.stop() == 0
        text = worker.path.read_text()

    assert [char for char in text if not char.isprintable() and char not in "\n\t"] == []
    assert [line for line in text.splitlines() if line.startswith("2026-01-01")] == []
