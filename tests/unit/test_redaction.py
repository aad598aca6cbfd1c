"""What is shown of arguments and results, and what is not."""

from __future__ import annotations

import dataclasses
import json
import logging
from enum import Enum
from typing import Any, NamedTuple

import msgspec
import pytest
from pydantic import BaseModel

from taskq import Middleware, Secret, TaskContext, TaskFailed, TaskQ, current_task
from taskq.config import AppConfig, from_environment
from taskq.message import Message
from taskq.record import Outcome, Record, State
from taskq.redaction import DEFAULT, NO_VEIL, PATTERNS, Redaction, Veil, is_marked

KEYS = {"k": "k" * 40}


@pytest.mark.parametrize(
    "name",
    ["password", "userPassword", "db_passwd", "API_KEY", "X-Api-Key", "apiKey", "accessToken", "Authorization",
     "client-secret", "aws_credentials", "Set-Cookie", "PRIVATE-KEY", "passphrase"],
)  # fmt: skip
def test_the_usual_names_hide_what_they_name(name: str) -> None:
    assert DEFAULT.hides(name)


@pytest.mark.parametrize("name", ["user", "key", "passenger", "author", "", 5, None, b"password", ("token",)])
def test_others_do_not(name: object) -> None:
    assert not DEFAULT.hides(name)


def test_an_app_has_patterns_of_its_own_or_none() -> None:
    assert Redaction(["*iban*", "PIN"]).hides("Iban-2")
    assert Redaction(["*iban*", "PIN"]).hides("pin")
    assert not Redaction(["*iban*", "PIN"]).hides("spin")
    assert not Redaction(["*iban*"]).hides("password")
    assert not Redaction(()).hides("password")


def test_the_environment_counts_more_than_the_code() -> None:
    config = AppConfig(redact=("*a*",))
    assert config.redaction.patterns == ("*a*",)
    assert from_environment(config, {"TASKQ_REDACT": "*iban*, *pin,"}).redact == ("*iban*", "*pin")
    assert from_environment(config, {"TASKQ_REDACT": "none"}).redact == ()
    assert AppConfig().redact == PATTERNS


def test_marks_are_places_and_names() -> None:
    marks: list[int | str] = [1, "b", -4]
    assert [place for place in range(6) if is_marked(place, marks)] == [1, 3, 4, 5]
    assert [name for name in "abc" if is_marked(name, marks)] == ["b"]
    assert is_marked("anything", ["**"])


def test_what_a_message_brings_is_known_besides() -> None:
    assert DEFAULT.knowing([1, "b", "**"]) is DEFAULT
    known = DEFAULT.knowing(["~*iban*"])
    assert known.hides("my_iban")
    assert known.hides("password")
    assert DEFAULT.knowing(["~*iban*"]) is known
    assert len(DEFAULT.knowing([f"~{n}" for n in range(1_000)]).patterns) == len(PATTERNS) + 100


@dataclasses.dataclass(frozen=True)
class Data:
    user: str
    password: str


@dataclasses.dataclass(slots=True)
class Slotted:
    token: str
    inner: Any = None


class Packed(msgspec.Struct):
    user: str
    password: str


class Validated(BaseModel):
    user: str
    password: str


class Plain:
    def __init__(self) -> None:
        self.user, self.password = "ann", "hunter2"


class Pair(NamedTuple):
    user: str
    password: str


class Word(Enum):
    ONE = "hunter2"


@pytest.mark.parametrize(
    "value",
    [
        Data("ann", "hunter2"),
        Slotted("t", [{"x": Data("ann", "hunter2")}]),
        Packed("ann", "hunter2"),
        Validated(user="ann", password="hunter2"),
        Plain(),
        Pair("ann", "hunter2"),
        {"user": "ann", "deep": [({"Password": "hunter2"},)]},
        {Data("ann", "hunter2")},
        [Secret("hunter2"), "ann"],
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_secret_is_in_what_is_shown_or_left_by_the_veil(value: Any) -> None:
    shown = repr(DEFAULT.shown(value))
    assert "hunter2" not in shown
    assert "<secret>" in shown
    assert "ann" in shown
    assert DEFAULT.veil([value], {}, ()).over("ann has hunter2") == "ann has <secret>"


@pytest.mark.parametrize(
    "value", [None, 5, "password", [1, {"a": 2}], Word.ONE, {1, 2}, object, print, Exception("x")]
)
def test_what_is_not_secret_is_shown_as_it_is(value: Any) -> None:
    assert DEFAULT.shown(value) is value
    assert DEFAULT.veil([value], {}, ()) is NO_VEIL


def test_what_contains_itself_is_shown_to_a_depth() -> None:
    value: list[Any] = [{"password": "hunter2"}]
    value.append(value)
    assert "hunter2" not in repr(DEFAULT.shown(value))[:300]
    assert DEFAULT.veil([value], {}, ()).over("hunter2") == "<secret>"


class TestVeil:
    def test_a_value_is_found_in_each_of_its_forms(self) -> None:
        text, data = "pa'ss\n\"w ö", b"\x00bytes"
        veil = Veil([text, data, 4815, 2.75])
        for form in (text, repr([text]), json.dumps({"x": text}), repr(data), "n=4815", "2.75"):
            assert veil.over(form) != form
            assert "ss" not in veil.over(form)
            assert "bytes" not in veil.over(form)
        assert veil.over(json.dumps([text])) == '["<secret>"]'

    def test_short_values_are_left_for_they_stand_anywhere(self) -> None:
        assert Veil(["abc", 12, True, None]).over("abc 12 True None") == "abc 12 True None"

    def test_the_longer_of_two_goes_first_and_a_mask_is_not_masked(self) -> None:
        assert Veil(["pass", "password", "secret"]).over("a password, a pass, a secret") == (
            "a <secret>, a <secret>, a <secret>"
        )

    def test_the_long_lines_of_a_value_are_found_one_by_one(self) -> None:
        key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n-----END KEY-----"
        indented = key.replace("\n", "\n  | ")
        assert Veil([key]).over(indented) == "<secret>\n  | <secret>\n  | <secret>"

    def test_whatever_a_value_is_the_veil_is_made(self) -> None:
        class Broken:
            def __str__(self) -> str:
                raise RuntimeError

        assert Veil([Broken(), 10**5_000]).over("text") == "text"


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
