"""What is secret, by its name or its type, and how values are shown that have it."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any, NamedTuple

import attrs
import msgspec
import pytest
from pydantic import BaseModel, Field

from taskq import Secret
from taskq.config import AppConfig, from_environment
from taskq.redaction import DEFAULT, PATTERNS, Redaction, is_marked
from taskq.veil import NO_VEIL


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


def test_a_name_alone_hides_no_number_and_no_common_word_in_texts() -> None:
    call = {"password": 4096, "secret": "true", "cookie": [None, "None", 1.25]}
    assert DEFAULT.veil([], call, ()) is NO_VEIL
    declared = DEFAULT.veil([Secret(4096), "true"], {}, [1])
    assert declared.over("4096 true") == "<secret> <secret>"


def test_what_a_class_leaves_out_of_its_repr_stays_out() -> None:
    @dataclasses.dataclass
    class One:
        password: str
        inner: str = dataclasses.field(default="unsaid", repr=False)

    @attrs.define
    class Two:
        password: str
        inner: str = attrs.field(default="unsaid", repr=False)

    class Three(BaseModel):
        password: str
        inner: str = Field(default="unsaid", repr=False)

    for value in (One("hunter2"), Two("hunter2"), Three(password="hunter2")):
        assert repr(DEFAULT.shown(value)).endswith(f"{type(value).__name__}(password='<secret>')")
