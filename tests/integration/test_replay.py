"""`taskq replay`: what has ended runs once more, here, and nobody is told."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq.cli.exits import Exit
from tests.commandline import MAIN, Taskq, environment
from tests.engine import Lab
from tests.hand import Hand, put
from tests.support import wait_until

pytestmark = pytest.mark.leaves_work

APP = """
import asyncio, contextlib, time
from pathlib import Path
from taskq import Middleware, Retry, TaskQ, current_task

log = Path("log.txt").open("a", buffering=1)

def note(*words):
    print(*words, file=log)

class Notes(Middleware):
    def before_task(self, context):
        note("before", context.id)
    def after_task(self, context, result, error):
        note("after", result, type(error).__name__)
    def before_failure(self, context, error):
        note("never")
    before_retry = after_retry = after_failure = before_failure

@contextlib.asynccontextmanager
async def lifespan(app):
    note("up")
    yield "state"
    note("down")

app = TaskQ("shop", middleware=[Notes()], lifespan=lifespan)

@app.task(name="who")
def who(word: str) -> dict:
    task = current_task()
    return {"id": task.id, "attempt": task.attempt, "fence": task.fence, "headers": dict(task.headers), "word": word,
            "state": task.state, "replay": task.is_replay}

@app.task(name="awho", result_ttl=0)
async def awho(word: str) -> dict:
    await asyncio.sleep(0)
    return who(word)

@app.task(name="fails", max_retries=3)
def fails(n: int) -> None:
    wanted = n + 1
    raise ValueError(f"no {wanted}")

@app.task(name="afails")
async def afails(n: int) -> None:
    raise Retry(delay=5)

@app.task(name="slow", timeout=0.2)
def slow() -> None:
    for _ in range(1000):
        time.sleep(0.01)

@app.task(name="aslow", soft_timeout=0.1)
async def aslow() -> None:
    await asyncio.sleep(10)

@app.task(name="stuck")
def stuck() -> None:
    note("stuck")
    for _ in range(1000):
        time.sleep(0.01)

@app.task(name="word", ack="manual")
def word(which: str) -> str:
    if which:
        getattr(current_task(), which)()
    return "said"
"""


@pytest.fixture(autouse=True)
def project(here: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    (tmp_path / "shop_replay.py").write_text(APP)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("TASKQ_APP", "shop_replay:app")
    yield
    module = sys.modules.pop("shop_replay", None)
    if module is not None:
        module.log.close()


@pytest.fixture
def hand(lab: Lab) -> Hand:
    return Hand(lab.broker)


def dead(lab: Lab, hand: Hand, task: str, *args: object, attempt: int = 1, **said: object) -> str:
    """Put a task among the dead letters, and give its id."""
    put(lab.broker, task, *args, **said)  # type: ignore[arg-type]
    claimed = hand.take_one()
    hand.fail(claimed, attempt=attempt)
    return claimed.id


def noted() -> list[str]:
    return Path("log.txt").read_text().splitlines()


@pytest.mark.contract
@pytest.mark.parametrize("task", ["who", "awho"])
def test_a_dead_letter_runs_here_as_the_attempt_that_failed_and_its_record_stays_as_it_is(
    lab: Lab, hand: Hand, taskq: Taskq, task: str
) -> None:
    task_id = dead(lab, hand, task, "x", attempt=4, headers={"trace": "7"})
    record, before = lab.record(task_id), lab.snapshot()
    assert record is not None

    said = taskq("replay", task_id, "--json")

    assert said.code == Exit.OK, said.err + said.out
    assert "what " + task + " does to the world, it does again" in said.err
    assert {**said.json, "took_ms": 0} == {
        "id": task_id, "task": task, "attempt": 4, "has_result": True, "error": None, "took_ms": 0,
        "result": {"id": task_id, "attempt": 4, "fence": record.g, "headers": {"trace": "7"}, "word": "x",
                   "state": "state", "replay": True},
    }  # fmt: skip
    assert lab.snapshot() == before
    assert noted()[:2] == ["up", f"before {task_id}"]
    assert noted()[2].startswith("after {'id'")
    assert noted()[3:] == ["down"]


@pytest.mark.contract
@pytest.mark.parametrize(
    ("task", "args", "error"),
    [
        ("fails", [1], "ValueError: no 2"),
        ("afails", [1], "taskq.retry.Retry"),
        ("fails", ["one"], "taskq.errors.ArgumentMismatch: argument 'n'"),
        ("slow", [], "taskq.errors.TaskTimeout: the task did not end within its timeout of 0.2 s"),
        ("aslow", [], "taskq.errors.SoftTimeout"),
        ("word", [""], "RuntimeError: word is declared with ack='manual'"),
        ("word", ["nack"], "RuntimeError: nack()"),
    ],
)
def test_a_task_that_fails_again_shows_its_traceback_and_tells_no_hook_of_a_failure(
    lab: Lab, hand: Hand, taskq: Taskq, task: str, args: list[object], error: str
) -> None:
    task_id = dead(lab, hand, task, *args)
    before = lab.snapshot()

    said = taskq("replay", task_id)

    assert (said.code, said.out) == (Exit.NO, "")
    assert f"taskq: task {task_id} failed: {error}" in said.err
    if task == "fails" and args == [1]:
        assert re.search(r"shop_replay.py\", line \d+, in fails", said.err)
    assert lab.snapshot() == before
    assert "never" not in noted()


@pytest.mark.contract
def test_what_succeeded_runs_again_if_its_message_was_kept(lab: Lab, hand: Hand, taskq: Taskq) -> None:
    kept, gone = put(lab.broker, "word", "ack"), put(lab.broker, "word", "ack")
    first, second = hand.take()
    hand.succeed(first, keep=True)
    hand.succeed(second)
    before = lab.snapshot()

    assert taskq("task", kept, "--json").json["args"] == ["ack"]
    said = taskq("replay", kept)
    assert (said.code, said.out) == (Exit.OK, '"said"\n')
    said = taskq("replay", gone)
    assert (said.code, said.out) == (Exit.NO, "")
    assert f"the message of task {gone} is gone" in said.err
    assert "keep_message=True" in said.err
    assert lab.snapshot() == before


@pytest.mark.contract
def test_what_cannot_be_replayed_is_refused_with_the_reason(lab: Lab, hand: Hand, taskq: Taskq) -> None:
    strange = dead(lab, hand, "strange")
    requeued = dead(lab, hand, "fails", 1)
    taskq("dead", "requeue", requeued)
    hand.take_one()
    running = put(lab.broker, "fails", 1)
    hand.take_one()
    queued = put(lab.broker, "fails", 1)
    scheduled = put(lab.broker, "fails", 1, delay_ms=60_000)
    lab.redis("SET", lab.keys.record("odd"), "F|1|p|", "PX", 60_000)
    lab.redis("SET", lab.keys.message("odd"), "\x00odd", "PX", 60_000)
    before = lab.snapshot()

    for task_id, code, reason in (
        ("nobody", Exit.NO, "nothing is known of task nobody"),
        (queued, Exit.NO, f"task {queued} is queued: only what has ended"),
        (running, Exit.NO, f"task {running} is running: only what has ended"),
        (scheduled, Exit.NO, f"task {scheduled} is scheduled: only what has ended"),
        (requeued, Exit.NO, "it was requeued"),
        ("odd", Exit.NO, "is no message"),
        (strange, Exit.USAGE, "app 'shop' has no task 'strange'"),
    ):
        said = taskq("replay", task_id)
        assert (said.code, said.out) == (code, ""), task_id
        assert reason in said.err

    assert lab.snapshot() == before


def test_the_debugger_opens_where_the_task_failed(lab: Lab, hand: Hand) -> None:
    task_id = dead(lab, hand, "fails", 41)
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*MAIN, "replay", task_id, "--pdb"],
        env=environment(TERM="dumb"),
        stdin=child,
        stdout=child,
        stderr=subprocess.STDOUT,
    )
    os.close(child)
    shown = ""

    def read_until(text: str) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(parent, 65_536).decode()

    read_until("(Pdb) ")
    os.write(parent, b"p 'wanted is', wanted\n")
    read_until("('wanted is', 42)")
    os.write(parent, b"q\n")
    with contextlib.suppress(OSError):
        read_until("failed: ValueError: no 42")
    assert process.wait(20) == Exit.NO
    os.close(parent)
    assert "taskq: ValueError: no 42" in shown
    assert noted()[-1] == "down"


def test_ctrl_c_interrupts_the_task_and_leaves_the_lifespan(lab: Lab, hand: Hand) -> None:
    task_id = dead(lab, hand, "stuck")
    process = subprocess.Popen(
        [*MAIN, "replay", task_id], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wait_until(lambda: Path("log.txt").exists() and "stuck" in noted(), 20)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)

    assert (process.returncode, err.splitlines()[-1]) == (Exit.INTERRUPTED, b"taskq: interrupted")
    assert noted()[-2:] == ["after None CancelRequested", "down"]
