"""What tasks, their errors and their tests show of what is secret: nothing."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel

from taskq import Middleware, Secret, TaskContext, TaskFailed, TaskQ, current_task
from taskq.message import Message
from taskq.record import Outcome, Record, State
from taskq.redaction import DEFAULT

KEYS = {"k": "k" * 40}


@dataclasses.dataclass(slots=True)
class Slotted:
    token: str


def test_no_repr_has_arguments_or_results() -> None:
    app = TaskQ("shop")

    @app.task(name="log_in")
    def log_in(user: str, password: str, code: Secret[str]) -> None: ...

    call = log_in.call("ann", "hunter2", Secret("hunter2"))
    assert repr(call) == "<Call log_in('ann', '<secret>', '<secret>')>"
    assert "hunter2" not in repr(app.named("x").call(password="hunter2"))
    hidden = [
        Message("t", args=b"hunter2"),
        Outcome(result=b"hunter2"),
        Record(State.FAILED, 1, "p", ending=b"hunter2"),
    ]
    assert "hunter2" not in repr(hidden)


def fail(user: str, code: Secret[str], **more: Any) -> None:
    raise ValueError(f"{user} {code.reveal()} {more}")


@pytest.mark.parametrize("codec", ["msgpack", "cloudpickle"])
def test_the_error_of_a_task_has_no_secret_in_it(codec: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = TaskQ("shop", signing_keys=KEYS)
    task = app.task(fail, max_retries=0, codec=codec, name="fail")
    with app.testing() as t:
        handle = task.enqueue("ann", Secret("hunter2"), deep=[Slotted("token-1")])
        t.run()
        with pytest.raises(TaskFailed, match=r"ValueError: ann <secret> .*token.*<secret>") as caught:
            handle.result()
    assert "hunter2" not in caught.value.traceback + caplog.text
    assert "token-1" not in caught.value.traceback + caplog.text
    assert "ValueError: ann <secret>" in caplog.text
    assert "Traceback" in caplog.text


def test_functions_that_are_no_tasks_are_masked_as_well(caplog: pytest.LogCaptureFixture) -> None:
    app = TaskQ("shop", signing_keys=KEYS, include=[__name__])
    with app.testing() as t:
        by_reference = app.submit(fail, "ann", Secret("hunter2"), token="token-1")
        as_code = app.submit(lambda user, password: fail(user, Secret(password)), "ann", "hunter2")
        for call in t.enqueued():
            assert "hunter2" not in str(call)
        t.advance("1h")
        for handle in (by_reference, as_code):
            with pytest.raises(TaskFailed, match="ValueError: ann <secret>") as caught:
                handle.result()
            assert "hunter2" not in str(caught.value) + caught.value.traceback
    assert "hunter2" not in caplog.text
    assert "token-1" not in caplog.text


def test_a_failure_without_a_secret_is_logged_with_its_exception(caplog: pytest.LogCaptureFixture) -> None:
    app = TaskQ("shop")

    @app.task(max_retries=0)
    def fails(password: str) -> None:
        raise ValueError("no word of it")

    with app.testing() as t:
        fails.enqueue("hunter2")
        t.run()
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None


def test_a_hook_that_fails_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    class Careless(Middleware):
        def after_task(self, context: TaskContext, result: Any, error: BaseException | None) -> None:
            raise RuntimeError(f"hook: {result}")

    app = TaskQ("shop", middleware=[Careless()])

    @app.task
    def echo(code: Secret[str]) -> str:
        return code.reveal()

    with app.testing() as t:
        echo.enqueue(Secret("hunter2"))
        t.run()
    assert "hook: <secret>" in caplog.text
    assert "hunter2" not in caplog.text


def test_a_task_can_mask_what_it_logs() -> None:
    app = TaskQ("shop")

    @app.task
    def task(user: str, code: Secret[str], data: dict[str, str]) -> list[str]:
        redact = current_task().redact
        return [
            redact(f"{user}:{code.reveal()}@host"),
            redact({"x": code.reveal(), "token": "t"}),
            redact(data),
        ]

    with app.testing() as t:
        handle = task.enqueue("ann", Secret("hunter2"), {"password": "p", "note": "hunter2 again"})
        t.run()
        assert handle.result() == [
            "ann:<secret>@host",
            "{'x': '<secret>', 'token': '<secret>'}",
            "{'password': '<secret>', 'note': '<secret> again'}",
        ]


def test_a_failing_assertion_of_a_test_shows_no_secret() -> None:
    app = TaskQ("shop")

    @app.task(name="log_in")
    def log_in(user: str, password: str, code: Secret[str] | None = None) -> None: ...

    with app.testing() as t:
        log_in.using(headers={"authorization": "hunter2"}).enqueue(
            "ann", password="hunter2", code=Secret("hunter2")
        )
        with pytest.raises(AssertionError) as caught:
            t.assert_enqueued(log_in, "bob", "hunter2")
        assert "hunter2" not in str(caught.value) + repr(t.enqueued())
        assert "log_in('ann', password='<secret>', code='<secret>')" in str(caught.value)
        assert t.assert_enqueued(log_in, "ann", "hunter2", Secret("hunter2")).kwargs["password"] == "hunter2"
        t.run()


class User(BaseModel):
    name: str
    age: int
    password: str


PASSWORD = "Tr0ub4dor&3-" + "".join(f"{n:03}x" for n in range(20))


def test_an_error_of_pydantics_shows_no_piece_of_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    app = TaskQ("shop")

    @app.task(max_retries=0)
    def typed(user: User) -> None: ...

    @app.task(max_retries=0)
    def inside(data: dict[str, str]) -> None:
        User.model_validate(data)

    data = {"name": "ann", "password": PASSWORD}
    with app.testing() as t:
        for handle in (app.enqueue(typed.name, data), inside.enqueue(data)):
            t.run()
            with pytest.raises(TaskFailed, match=r"age(: |\n +)Field required") as caught:
                handle.result()
            said = str(caught.value) + caught.value.traceback
            assert "Tr0ub" not in said
            assert "019x" not in said
    assert "Field required" in caplog.text
    assert "Tr0ub" not in caplog.text
    assert "019x" not in caplog.text


def test_what_a_task_counts_in_tokens_is_shown() -> None:
    app = TaskQ("shop")

    @app.task(max_retries=0)
    def toks(prompt: str, max_tokens: int = 4096, tokenizer: str = "python", token: str = "") -> None:
        raise ValueError("port 4096 on python host")

    assert not any(map(DEFAULT.hides, ("max_tokens", "tokenizer", "token_count", "tokenType")))
    assert all(map(DEFAULT.hides, ("token", "access_token", "X-Auth-Token", "accessToken")))
    with app.testing() as t:
        handle = toks.enqueue("hi", max_tokens=4096, tokenizer="python", token="4096")
        t.run()
        with pytest.raises(TaskFailed, match="port <secret> on python host"):
            handle.result()


def test_a_default_that_is_secret_is_masked_where_it_stands(caplog: pytest.LogCaptureFixture) -> None:
    app, code, word = TaskQ("shop"), Secret("code-123"), "word-123"

    @app.task(max_retries=0)
    def log_in(user: str, code: Secret[str] = code, *, password: str = word) -> None:
        raise ValueError(f"{user} {code.reveal()} {password}")

    with app.testing() as t:
        for handle, said in (
            (log_in.enqueue("ann"), "ann <secret> <secret>"),
            (log_in.enqueue("word-123", Secret("x" * 9)), "<secret> <secret> <secret>"),
            (log_in.enqueue("word-123", password="other-word"), "word-123 <secret> <secret>"),
        ):
            t.run()
            with pytest.raises(TaskFailed, match=f"ValueError: {said}$"):
                handle.result()
    assert "code-123" not in caplog.text


class Held(msgspec.Struct):
    before: str
    code: str

    def __post_init__(self) -> None:
        raise ValueError(self.before + self.code)


def test_a_value_that_does_not_fit_is_masked_before_anything_is_cut_or_written_anew() -> None:
    app = TaskQ("shop")

    @app.task(max_retries=0)
    def fits(held: Held, password: str) -> None: ...

    with app.testing() as t:
        for before in ("", "x" * 470):
            handle = app.enqueue(fits.name, {"before": before, "code": PASSWORD}, PASSWORD)
            t.run()
            with pytest.raises(TaskFailed, match=r"argument 'held': x*<secret>") as caught:
                handle.result()
            assert "r0ub" not in f"{caught.value} {caught.value.traceback}"


def test_what_chaos_tells_shows_no_secret() -> None:
    app = TaskQ("shop")

    @app.task(max_retries=0)
    def log_in(user: str, password: str) -> dict[str, str]:
        if user == "bob":
            raise ValueError(f"{user} {password}")
        return {"user": user, "password": password}

    with app.testing() as t:
        for user in ("ann", "bob"):
            told = repr(t.chaos(log_in.call(user, "hunter2"), duplicate=True))
            assert user in told
            assert "<secret>" in told
            assert "hunter2" not in told
