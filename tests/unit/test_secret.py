"""A Secret, and how it travels."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest
from pydantic import BaseModel

from taskq import Secret, TaskQ
from taskq.codec import CallCodec, decode_value, encode_value
from taskq.errors import ArgumentMismatch, ConfigurationError, NotEncodable
from taskq.inspector.plain import decode_plain
from taskq.redaction import Redaction

if TYPE_CHECKING:
    from taskq.secret import Secret as Hidden

HIDDEN: Secret[str] = Secret("hunter2")
BY_NAME = CallCodec(None)


class TestTheObject:
    def test_no_form_of_it_shows_the_value(self, caplog: pytest.LogCaptureFixture) -> None:
        logging.getLogger("any").warning("%s %r", HIDDEN, {"in": [HIDDEN]})
        raised = "".join(traceback.format_exception(ValueError(HIDDEN)))
        shown = [
            repr(HIDDEN),
            str(HIDDEN),
            f"{HIDDEN}",
            f"{HIDDEN:>20} {HIDDEN!r}",
            f"{HIDDEN:d}",
            "%s" % (HIDDEN,),  # noqa: UP031 - as older programs have it
        ]
        assert "hunter2" not in "".join([*shown, caplog.text, raised])
        assert shown[0] == "<secret>"

    def test_it_gives_the_value_to_who_asks(self) -> None:
        assert HIDDEN.reveal() == "hunter2"

    def test_it_compares_and_hashes_as_its_value_does(self) -> None:
        assert Secret("hunter2") == HIDDEN
        assert {HIDDEN: 1}[Secret("hunter2")] == 1
        assert Secret("other") != HIDDEN
        assert HIDDEN != "hunter2"
        assert (bool(Secret("")), bool(HIDDEN)) == (False, True)
        with pytest.raises(TypeError, match="unhashable"):
            hash(Secret([1]))

    def test_copies_and_pickles_have_the_value(self) -> None:
        assert pickle.loads(pickle.dumps(HIDDEN)) == copy.copy(HIDDEN) == copy.deepcopy(HIDDEN) == HIDDEN

    def test_it_becomes_no_json_by_accident(self) -> None:
        with pytest.raises(TypeError, match="not JSON serializable"):
            json.dumps({"password": HIDDEN})
        with pytest.raises(TypeError, match="unsupported"):
            msgspec.json.encode(HIDDEN)


class Colour(Enum):
    RED = "red"


@dataclass
class Account:
    user: str
    password: Secret[str]
    pin: Secret[int] | None = None


@dataclass
class Login:
    password: Colour
    colour: Colour


class Model(BaseModel):
    number: int


def plain(value: Secret[str]) -> None: ...
def number(value: Secret[int]) -> None: ...
def day(value: Secret[date]) -> None: ...
def colour(value: Secret[Colour]) -> None: ...
def model(value: Secret[Model]) -> None: ...
def many(value: Secret[list[int]]) -> None: ...
def bare(value: Secret[Any]) -> None: ...
def maybe(value: Secret[str] | None = None) -> None: ...
def either(value: Secret[str] | int) -> None: ...
def inside(value: list[Secret[str]]) -> None: ...
def account(value: Account) -> None: ...


def arrives(function: Callable[..., Any], sent: Any, sender: CallCodec | None = None) -> Any:
    codec = sender or CallCodec(function)
    [value], _ = CallCodec(function).decode_call(*codec.encode_call((sent,), {}))
    return value


@pytest.mark.parametrize("sender", [None, BY_NAME], ids=["with the code", "by name"])
@pytest.mark.parametrize(
    ("function", "value"),
    [
        (plain, "hunter2"),
        (number, 7),
        (day, date(2026, 5, 1)),
        (colour, Colour.RED),
        (model, Model(number=3)),
        (many, [1, 2]),
        (bare, {"a": (1,)}),
        (maybe, "hunter2"),
        (either, "hunter2"),
    ],
)
def test_an_annotated_secret_arrives_as_one(
    function: Callable[..., Any], value: Any, sender: CallCodec | None
) -> None:
    found = arrives(function, Secret(value), sender)
    assert type(found) is Secret
    assert found.reveal() == value
    if function is not either:  # where it may be either, it is what was sent
        assert arrives(function, value, sender) == found


@pytest.mark.parametrize("sender", [None, BY_NAME], ids=["with the code", "by name"])
def test_secrets_within_others_arrive_as_such(sender: CallCodec | None) -> None:
    sent = Account("ann", HIDDEN, Secret(1))
    assert arrives(account, sent, sender) == sent
    assert arrives(account, {"user": "ann", "password": "hunter2"}, sender) == Account("ann", HIDDEN)
    assert arrives(inside, [HIDDEN, "plain"], sender) == [HIDDEN, Secret("plain")]
    assert arrives(maybe, None, sender) is None


def test_a_function_that_wants_the_value_gets_it() -> None:
    def typed(value: str) -> None: ...
    def enum(value: Colour) -> None: ...
    def models(value: Model | None) -> None: ...
    def untyped(value) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    assert arrives(typed, HIDDEN) == "hunter2"
    assert arrives(typed, HIDDEN, BY_NAME) == "hunter2"
    assert arrives(enum, Secret("red"), BY_NAME) is Colour.RED
    assert arrives(models, Secret({"number": 1}), BY_NAME) == Model(number=1)
    assert arrives(untyped, HIDDEN) == HIDDEN


def test_it_travels_where_nothing_is_known() -> None:
    value = {"a": [HIDDEN, Secret((1, 2))], HIDDEN: {Secret(3)}}
    assert decode_value(encode_value(value)) == value
    assert decode_plain(encode_value(value)) == {"a": ["<secret>", "<secret>"], "<secret>": "<secret>"}


def test_code_carries_it_too() -> None:
    codec = CallCodec(plain, pickles=True)
    assert codec.decode_call(*codec.encode_call((HIDDEN,), {}), trusted=True) == ((HIDDEN,), {})


def test_a_result_that_is_annotated_so_is_shown_to_nobody() -> None:
    def token() -> Secret[str]:
        return HIDDEN

    codec = CallCodec(token)
    for value in (HIDDEN, "hunter2"):  # a function without a type checker returns what it likes
        data = codec.encode_result(value)
        assert decode_plain(data) == "<secret>"
        assert codec.decode_result(data) == BY_NAME.decode_result(data) == HIDDEN


def test_an_annotation_that_only_type_checkers_resolve_is_secret_all_the_same() -> None:
    def task(value: Hidden[str], other: Secret[Missing]) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    def hidden(value: "Secret[Missing]") -> None: ...  # type: ignore[name-defined]  # noqa: F821, UP037

    assert CallCodec(task).marks == [1, "other"]
    assert arrives(hidden, {"any": 1}) == Secret({"any": 1})


def test_what_cannot_arrive_is_refused_at_the_first_use() -> None:
    def task(value: Secret[Account | Model]) -> None: ...

    with pytest.raises(ConfigurationError, match="cannot arrive as annotated"):
        CallCodec(task).encode_call((1,), {})


class TestErrors:
    def test_one_that_does_not_fit_is_not_quoted(self) -> None:
        def task(mode: Secret[Literal["r", "w"]], options: dict[str, Any]) -> None: ...

        codec = CallCodec(task)
        with pytest.raises(ArgumentMismatch) as caught:
            codec.decode_call(*codec.encode_call((HIDDEN, {}), {}))
        assert str(caught.value) == "argument 'mode': it is secret, and does not fit its annotation"
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize("function", [colour, many, day])
    def test_whatever_is_annotated(self, function: Callable[..., Any]) -> None:
        with pytest.raises(ArgumentMismatch) as caught:
            arrives(function, HIDDEN.reveal(), BY_NAME)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    def test_nor_is_what_a_name_hides(self) -> None:
        def task(token: Colour, login: Login | None = None, colour: Colour = Colour.RED) -> None: ...

        codec = CallCodec(task)
        for call, said in (
            (("hunter2",), "argument 'token': it is secret, and does not fit its annotation"),
            (
                ("red", {"password": "hunter2", "colour": "red"}),
                "argument 'login': it is secret, and does not fit",
            ),
            (
                ("red", {"password": "red", "colour": "hunter2"}),
                "argument 'login'.colour: invalid enum value",
            ),
            (("red", None, "hunter2"), "argument 'colour': invalid enum value 'hunter2'"),
        ):
            with pytest.raises(ArgumentMismatch) as caught:
                codec.decode_call(*BY_NAME.encode_call(call, {}))
            assert said in str(caught.value)

    def test_what_cannot_travel_is_named_but_for_what_is_in_it(self) -> None:
        with pytest.raises(NotEncodable) as caught:
            BY_NAME.encode_call(([Secret({"hunter2": object()})],), {})
        assert str(caught.value) == "args[0][0] is a secret, and something in it cannot travel"


def test_messages_say_which_arguments_are_secret_and_none_where_none_is() -> None:
    def task(
        a: int, b: Secret[str], /, password: str, *passwords: int, c: Secret[str] | None, **secrets: int
    ) -> None: ...
    def none(a: int, b: dict[str, str]) -> None: ...

    assert CallCodec(task).marks == [1, 2, "password", -4, "c", "**"]
    assert list(CallCodec(none).marks) == []
    assert CallCodec(task, redaction=Redaction(())).marks == [1, "c"]
    assert CallCodec(none, redaction=Redaction(["*iban*"])).marks == ["~*iban*"]


@pytest.mark.parametrize("refused", ["*password*", [1], 5])
def test_patterns_are_a_list_of_texts(refused: Any) -> None:
    with pytest.raises(ValueError, match="redact="):
        TaskQ("shop", redact=refused)
