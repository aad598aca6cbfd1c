"""pydantic models and attrs classes, for those who have them."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import attrs
import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    RootModel,
    SecretStr,
    field_serializer,
    field_validator,
)

from taskq.codec import CallCodec, decode_value, encode_value
from taskq.errors import ArgumentMismatch, ConfigurationError, NotEncodable

T = TypeVar("T")
BY_NAME = CallCodec(None)


class Customer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(alias="fullName", min_length=1)
    since: datetime
    rates: dict[str, Decimal] = {}

    @field_validator("name")
    @classmethod
    def is_told_from_others(cls, value: str) -> str:
        if value == "nobody":
            raise ValueError("nobody is no customer")
        return value


class Order(BaseModel):
    customer: Customer
    site: HttpUrl | None = None
    folder: Path | None = None
    limit: float = math.inf
    items: list[Any] = []


class Paged(BaseModel, Generic[T]):
    items: tuple[T, ...]


class Ids(RootModel[set[int]]):
    pass


@dataclass
class Parcel:
    order: Order
    note: Customer | None = None


class Created(BaseModel):
    kind: Literal["created"] = "created"
    id: int


class Deleted(BaseModel):
    kind: Literal["deleted"] = "deleted"
    id: int


@attrs.frozen
class Spot:
    x: int
    seen: datetime
    tags: frozenset[str] = frozenset()


ANN = Customer(fullName="Ann", since=datetime(2024, 1, 2, tzinfo=UTC), rates={"eur": Decimal("1.50")})
ORDER = Order(
    customer=ANN, site=HttpUrl("https://a.example/x"), folder=Path("/srv"), items=[(1, {2}), b"\xff"]
)
Event = Annotated[Created | Deleted, Field(discriminator="kind")]
SPOT = Spot(1, datetime(2024, 1, 2))  # noqa: DTZ001 - naive on purpose


def annotated(annotation: Any) -> Callable[..., Any]:
    def function(it: Any) -> Any: ...

    function.__annotations__ = {"it": annotation, "return": annotation}
    return function


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Customer, ANN),
        (Customer | None, ANN),
        (Customer | None, None),
        (list[Customer], [ANN, ANN]),
        (dict[str, Order], {"a": ORDER}),
        (Parcel, Parcel(ORDER, ANN)),
        (list[Parcel | None], [Parcel(ORDER), None]),
        (Paged[Customer], Paged[Customer](items=(ANN,))),
        (Ids, Ids({1, 2})),
        (Event, Deleted(id=3)),
        (list[Created | Deleted] | None, [Created(id=1), Deleted(id=2)]),
        (Spot, SPOT),
        (tuple[Spot, ...], (SPOT,)),
    ],
    ids=str,
)
def test_a_model_arrives_as_annotated(annotation: Any, value: Any) -> None:
    codec = CallCodec(annotated(annotation))
    for sender in (codec, BY_NAME):
        assert codec.decode_call(*sender.encode_call((value,), {})) == ((value,), {})
        assert codec.decode_call(*sender.encode_call((), {"it": value})) == ((), {"it": value})
        assert codec.decode_result(sender.encode_result(value)) == value


def test_a_model_arrives_as_dict_where_nothing_is_annotated() -> None:
    assert decode_value(encode_value(ORDER)) == {
        "customer": {"name": "Ann", "since": ANN.since, "rates": {"eur": Decimal("1.50")}},
        "site": "https://a.example/x",
        "folder": "/srv",
        "limit": math.inf,
        "items": [(1, {2}), b"\xff"],
    }
    assert decode_value(encode_value([SPOT])) == [{"x": 1, "seen": SPOT.seen, "tags": frozenset()}]


def test_a_producer_by_name_may_use_aliases_or_field_names() -> None:
    codec = CallCodec(annotated(Customer))
    for name in ("name", "fullName"):
        sent = {name: "Ann", "since": ANN.since, "rates": {"eur": "1.50"}}

        assert codec.decode_call(*BY_NAME.encode_call((sent,), {})) == ((ANN,), {})


@pytest.mark.parametrize(
    ("annotation", "value", "says"),
    [
        (Customer, {"name": "nobody", "since": "2024-01-02"}, "argument 'it': name: Value error, nobody"),
        (list[Customer], [{"name": "Ann"}], "argument 'it'[0]: since: Field required"),
        (Parcel, {"order": {"customer": 3}}, "argument 'it'.order: customer: Input should be a valid dict"),
        (Event, {"kind": "moved"}, "argument 'it': : Input tag 'moved' found using 'kind' does not match"),
        (Spot, {"x": "1", "seen": SPOT.seen}, "argument 'it'.x: expected int, got str"),
    ],
)  # fmt: skip
def test_what_a_model_refuses_is_named(annotation: Any, value: Any, says: str) -> None:
    with pytest.raises(ArgumentMismatch) as raised:
        CallCodec(annotated(annotation)).decode_call(*BY_NAME.encode_call((value,), {}))

    assert str(raised.value).startswith(says)
    assert "\n" not in str(raised.value)


class Session:
    pass


class Login(BaseModel):
    user: str
    password: SecretStr


def test_the_path_to_what_cannot_travel_goes_through_models() -> None:
    order = ORDER.model_copy(update={"items": [{"a": Session()}]})

    with pytest.raises(NotEncodable, match=r"^args\[0\]\['k'\].order.items\[0\]\['a'\] \("):
        BY_NAME.encode_call(({"k": Parcel(order)},), {})


class Odd(BaseModel):
    name: str

    @field_serializer("name")
    def as_session(self, _: str) -> Any:
        return {"open": Session()}


def test_what_a_serializer_makes_of_a_model_must_travel_too() -> None:
    with pytest.raises(NotEncodable, match=r"^value\['name'\]\['open'\] "):
        encode_value(Odd(name="x"))


def test_a_secret_is_never_sent_as_stars() -> None:
    with pytest.raises(NotEncodable, match=r"^value.password .* a secret is not sent") as raised:
        encode_value(Login(user="ann", password=SecretStr("swordfish")))

    assert "swordfish" not in str(raised.value)


def test_models_that_pydantic_cannot_tell_apart_are_refused_at_the_first_use() -> None:
    class Left(BaseModel):
        kind: int

    annotation = Annotated[Left | Created, Field(discriminator="kind")]
    with pytest.raises(ConfigurationError, match=r"parameter 'it' of .* cannot arrive as annotated"):
        CallCodec(annotated(annotation)).encode_call((1,), {})


def test_pydantic_is_not_loaded_for_those_who_do_not_use_it() -> None:
    program = (
        "import sys; from taskq.codec import CallCodec\n"
        "def f(a: list[int], b): ...\n"
        "c = CallCodec(f)\n"
        "c.decode_call(*c.encode_call(([1], (2,)), {}))\n"
        "sys.exit('pydantic' in sys.modules or 'attr' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0
