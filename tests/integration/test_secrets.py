"""What is secret stands in Redis, for the task has to have it, and in nothing that people look at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq import Secret, State, TaskFailed, TaskHandle
from tests.apps import redacted
from tests.apps.redacted import Account
from tests.commandline import Taskq, settle_in
from tests.workers import Yard

CODE, PASSWORD, PIN, IBAN = (
    "squeamish-ossifrage",
    "correct'horse\n\"battery",
    4815162342,
    "DE02120300000000202051",
)
ACCOUNT = Account("bob", PASSWORD, Secret(PIN))
ANY = re.compile("squeamish|ossifrage|correct|horse|battery|4815162342|DE0212|not-a-pin")


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    with Yard(tmp_path) as yard:
        settle_in(monkeypatch, tmp_path, yard.server.url, yard.namespace)
        redacted.app.use(yard.app.broker)
        yield yard
        redacted.app.use(None)


@pytest.mark.parametrize("log_json", [True, False], ids=["json", "text"])
def test_no_command_and_no_worker_shows_a_secret(
    yard: Yard, capsys: pytest.CaptureFixture[str], log_json: bool
) -> None:
    taskq, shown = Taskq(capsys), list[str]()
    worker = yard.worker("redacted", log_level="debug", log_tasks=True, log_json=log_json)
    sent: dict[str, TaskHandle[Any]] = {
        # By programs that have the code, and have not; by place and by name; as a Secret and plain.
        "give": redacted.give.enqueue("ann", Secret(CODE), ACCOUNT),
        "give plain": yard.app.enqueue(redacted.give.name, "ann", Secret(CODE), account=ACCOUNT),
        "same": redacted.same.using(headers={"x-password": PASSWORD}).enqueue(Secret(CODE)),
        "leak": redacted.leak.enqueue("ann", Secret(CODE), ACCOUNT, more={"deep": [{"Iban": IBAN}]}),
        "aleak": redacted.aleak.enqueue("ann", IBAN),
        "fits": yard.app.enqueue(redacted.fits.name, "ann", Secret("not-a-pin")),
        "kept": redacted.kept.enqueue("ann", code=Secret(CODE)),
    }
    assert yard.wait_ended(list(sent.values())) == {"succeeded": 4, "failed": 3}
    assert sent["same"].result() == Secret(CODE)
    assert sent["give"].result()["password"] == CODE
    assert {name for name, handle in sent.items() if handle.status() is State.FAILED} == {
        "leak",
        "aleak",
        "fits",
    }

    waiting = redacted.leak.using(delay="1h", queue="later").enqueue("ann", Secret(CODE), ACCOUNT, iban=IBAN)
    for id in [*(handle.id for handle in sent.values()), waiting.id]:
        for command in (["task"], ["dead", "show"], ["result"]):
            for form in ([], ["--json"]):
                said = taskq(*command, id, *form)
                shown += [said.out, said.err]
    for words in (["tasks"], ["dead", "list"], ["compat", "tests.apps.redacted:app"]):
        said = taskq(*words, "--json")
        shown += [said.out, said.err]
    for name in ("leak", "aleak", "fits", "kept"):
        said = taskq("replay", sent[name].id, "-A", "tests.apps.redacted:app")
        shown += [said.out, said.err]
    assert worker.stop() == 0
    shown.append(worker.path.read_text())
    for handle in sent.values():
        shown += [repr(handle), repr(handle.info()), str(handle.info().error)]
    waiting.cancel()

    everything = "\n".join(shown)
    assert ANY.findall(everything) == []
    assert everything.count("<secret>") > 40
    assert '"ann"' in everything
    assert "a hook fails, too" in everything
    assert "ValueError: ann <secret>" in everything


def test_a_failure_carries_no_secret_back(yard: Yard) -> None:
    worker = yard.worker("redacted")
    handle = redacted.leak.enqueue("ann", Secret(CODE), ACCOUNT, iban=IBAN)
    with pytest.raises(TaskFailed, match="ValueError: ann <secret> Account") as caught:
        handle.result(timeout=10)
    assert "KeyError: '<secret>'" in caught.value.traceback
    assert ANY.findall(f"{caught.value} {caught.value.traceback}") == []
    assert worker.stop() == 0


def test_a_requeued_dead_letter_is_as_secret_as_before(
    yard: Yard, capsys: pytest.CaptureFixture[str]
) -> None:
    taskq = Taskq(capsys)
    worker = yard.worker("redacted")
    handle = redacted.aleak.enqueue("ann", IBAN)
    assert yard.wait_ended([handle]) == {"failed": 1}
    assert worker.stop() == 0
    [again] = taskq("dead", "requeue", handle.id, "--json").json["requeued"]
    assert taskq("task", again["id"], "--json").json["args"] == ["ann", "<secret>"]
    assert taskq("cancel", again["id"]).code == 0


def test_the_environment_says_what_is_secret_to_the_command_line(
    yard: Yard, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taskq = Taskq(capsys)
    handle = yard.app.enqueue("unknown", {"token": "t", "iban": IBAN}, Secret(1), token="t")

    def shown() -> list[object]:
        found = taskq("task", handle.id, "--json").json
        return [*found["args"], found["kwargs"]]

    assert shown() == [{"token": "<secret>", "iban": IBAN}, "<secret>", {"token": "<secret>"}]
    monkeypatch.setenv("TASKQ_REDACT", "*iban*, other")
    assert shown() == [{"token": "t", "iban": "<secret>"}, "<secret>", {"token": "t"}]
    monkeypatch.setenv("TASKQ_REDACT", "none")
    assert shown() == [{"token": "t", "iban": IBAN}, "<secret>", {"token": "t"}]
    assert '"redact"' in taskq("config", "show", "--json").out
    handle.cancel()
