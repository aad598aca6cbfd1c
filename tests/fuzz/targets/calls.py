"""Values and calls: against annotations of every kind, and without; and what is not shown of them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from pydantic import BaseModel

from taskq import Secret
from taskq.codec import CallCodec, decode_value
from taskq.errors import ArgumentMismatch, BadMessage
from taskq.inspector.plain import decode_plain, plain
from taskq.redaction import DEFAULT
from taskq.retry import Reject
from taskq.submitting import CallerCodec, callers, find

MODULES = ("tests.fuzz.targets.calls",)
TYPES = (
    type(None),
    bool,
    int,
    float,
    str,
    bytes,
    list,
    dict,
    tuple,
    set,
    frozenset,
    datetime,
    date,
    time,
    timedelta,
    Decimal,
    UUID,
    Secret,
)
SPLIT = b"\xc1"
"""What msgpack never has: parts an input's args from its kwargs."""


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: float


class Options(TypedDict, total=False):
    colour: Colour
    point: Point


@dataclass(frozen=True)
class Leaf:
    name: str
    when: datetime | None = None


class Tree(msgspec.Struct):
    leaf: Leaf
    below: list[Tree] = []


class Model(BaseModel):
    tree: dict[str, int]
    password: str | None = None


def closed(a: int, b: dict[int, str], options: Options, *rest: Leaf, kind: Literal["x", "y"] = "x") -> Point:
    raise NotImplementedError


def typed(
    a: int, b: dict[tuple[int, str], set[Leaf]], *rest: Tree, c: Model | None = None, **more: Decimal
) -> Tree:
    raise NotImplementedError


def loose(a: Any, b: Any = 1, /, *rest: Any, token: str = "", **more: Any) -> Any:
    raise NotImplementedError


def secret(user: str, password: Secret[str], when: datetime | timedelta | None = None) -> Secret[bytes]:
    raise NotImplementedError


CODECS = [
    *map(CallCodec, (closed, typed, loose, secret, None)),
    CallerCodec(callers(MODULES)[0], MODULES, DEFAULT),
]


def value(data: bytes) -> None:
    with suppress(BadMessage):
        read = decode_value(data)
        check(read)
        plain(read)
    with suppress(BadMessage):
        decode_plain(data)
    for codec in CODECS:
        with suppress(BadMessage, ArgumentMismatch):
            codec.decode_result(data)


def check(value: Any, deep: int = 0) -> None:
    """Hold a value, and all in it, against the types that may come out of bytes."""
    assert type(value) in TYPES, type(value)
    if deep > 400:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            check(key, deep + 1)
            check(item, deep + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            check(item, deep + 1)
    elif isinstance(value, Secret):
        check(value.reveal(), deep + 1)
    elif isinstance(value, (datetime, time)):
        assert type(value.tzinfo) in (type(None), timezone, ZoneInfo)


def call(data: bytes) -> None:
    args, _, kwargs = data.partition(SPLIT)
    for codec in CODECS:
        with suppress(BadMessage, ArgumentMismatch):
            codec.decode_call(args, kwargs)
        codec.veil(args, kwargs, False, None).over("user password when 123456")
    with suppress(BadMessage, ArgumentMismatch, Reject):
        (module, name, *_), _ = CODECS[-1].decode_call(args, kwargs)
        assert find(module, name, MODULES).__module__ == MODULES[0]


def secrets(data: bytes) -> None:
    """A msgpack array: a message's marks, its arguments by place and by name, and a text that may quote them."""
    try:
        marks, args, kwargs, text = msgspec.msgpack.decode(
            data, type=tuple[list[int | str], list[Any], dict[str, Any], str]
        )
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return
    redaction = DEFAULT.knowing(marks)
    redaction.call(args, kwargs, marks)
    redaction.veil(args, kwargs, marks).over(text)
    CODECS[3].shown("secret", args, kwargs, marks)


def seeds() -> dict[str, dict[str, bytes]]:
    """Real encodings, made by the product itself, for the targets of this file."""
    from taskq.codec import encode_value

    now = datetime(2024, 3, 31, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    many = [
        1 << 80,
        {(1, "x"): {Leaf("a")}, frozenset({2}): (3, [4])},
        now,
        date(2024, 1, 2),
        timedelta(1),
        Decimal("1.5"),
    ]
    values = {
        "many": encode_value(
            [*many, UUID(int=7), time(1, 2, tzinfo=ZoneInfo("UTC")), b"raw", 1.5, None, Secret("s")]
        ),
        "tree": CODECS[1].encode_result(Tree(Leaf("b"), [Tree(Leaf("c", now))])),
        "point": CODECS[0].encode_result(Point(1, 2.0)),
        "secret": CODECS[3].encode_result(Secret(b"hidden")),
        "utc": encode_value(datetime(2024, 1, 2, tzinfo=timezone.utc)),  # noqa: UP017 - the very object
        "pickled": b"\x02\x03\x0bcos\nsystem\n(S'true'\ntR.",
    }
    made = {
        "closed": CODECS[0].encode_call(
            (1, {2: "x"}, {"colour": Colour.RED, "point": Point(1, 2.0)}, Leaf("a")), {"kind": "y"}
        ),
        "typed": CODECS[1].encode_call(
            (1, {(1, "x"): {Leaf("a")}}, Tree(Leaf("b"))), {"c": Model(tree={"x": 1}), "d": Decimal(1)}
        ),
        "loose": CODECS[2].encode_call((many, 2, 3), {"token": "t0k3n", "more": many}),
        "secret": CODECS[3].encode_call(("ann", Secret("hunter22")), {"when": now}),
        "reference": CODECS[5].encode_call((MODULES[0], "loose", *CODECS[2].encode_call((1,), {})), {}),
    }
    hidden = {
        "marks": msgspec.msgpack.encode(
            [
                [0, -2, "password", "**", "~*iban*"],
                ["ann", "hunter22", {"iban": "DE02"}],
                {"password": "x1y2z3"},
                "a: hunter22",
            ]
        ),
        "patterns": msgspec.msgpack.encode([["~*a*b*c*[!x]?*", "~" + "*a" * 90], [{"a" * 90: 1}], {}, "x"]),
    }
    return {
        "value": values,
        "call": {name: SPLIT.join(pair) for name, pair in made.items()},
        "secrets": hidden,
    }
