"""Calls of functions: what fits a signature, and how each kind of parameter travels."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import (
    Any,
    Final,
    NamedTuple,
    TypedDict,
    Unpack,
)

import pytest

from taskq.codec import CallCodec
from taskq.errors import ArgumentMismatch, BadMessage
from tests.unit.annotated import BY_NAME, send, send_by_name


class Tag(NamedTuple):
    name: str


class Options(TypedDict):
    depth: int


def everything(
    a: int, b: str = "b", /, c: float = 0, *rest: int, d: set[int], e: Any = None, **more: date
) -> None: ...


@pytest.mark.parametrize("sender", [send, send_by_name])
def test_every_kind_of_parameter_works(sender: Callable[..., Any]) -> None:
    day = date(2024, 1, 2)

    assert sender(everything, 1, d={1}) == ((1,), {"d": {1}})
    assert sender(everything, 1, "x", 2.5, 3, 4, d=set(), e=(1,), a=day) == (
        (1, "x", 2.5, 3, 4),
        {"d": set(), "e": (1,), "a": day},
    )


@pytest.mark.parametrize("count", [0, 1, 14, 15, 16, 17, 300])
@pytest.mark.parametrize("sender", [send, send_by_name])
def test_any_number_of_arguments_works(sender: Callable[..., Any], count: int) -> None:
    def plain(*args: Any, **kwargs: Any) -> None: ...
    def typed(*args: date, **kwargs: date) -> None: ...

    numbers = tuple(range(count))
    days = tuple(date(2024, 1, 1) + timedelta(days=number) for number in numbers)

    assert sender(plain, *numbers, **{f"k{n}": (n,) for n in numbers}) == (
        numbers,
        {f"k{n}": (n,) for n in numbers},
    )
    assert sender(typed, *days, **{f"k{day}": day for day in days}) == (
        days,
        {f"k{day}": day for day in days},
    )


def test_more_keywords_than_a_short_msgpack_map_holds_arrive_as_annotated() -> None:
    names: dict[str, Any] = {"date": date}
    exec(f"def function({', '.join(f'k{n}: date' for n in range(20))}): ...", names)  # noqa: S102
    sent = {f"k{n}": date(2024, 1, n + 1) for n in range(20)}

    assert send(names["function"], **sent) == ((), sent)


def test_a_function_with_any_keywords_is_called_with_thousands_of_different_ones() -> None:
    def function(**more: int) -> None: ...

    codec = CallCodec(function)
    for number in range(1_000):
        assert codec.decode_call(*codec.encode_call((), {f"k{number}": number})) == (
            (),
            {f"k{number}": number},
        )


def test_one_unknown_name_leaves_the_other_annotations_alone() -> None:
    def function(a: Any, b: set[int], *, c: Any = None) -> Any: ...

    for name in ("a", "c", "return"):
        function.__annotations__[name] = "Unknown"

    assert send(function, (1,), [2]) == (((1,), {2}), {})
    with pytest.raises(ArgumentMismatch, match="argument 'b': expected list, got int"):
        send(function, 1, 2)


def test_annotations_may_name_what_is_defined_after_the_codec() -> None:
    names: dict[str, Any] = {}
    exec("def function(it: 'Later') -> 'Later': ...", names)  # noqa: S102 - a module of its own
    codec = CallCodec(names["function"])
    names["Later"] = Tag

    assert codec.decode_call(*codec.encode_call((Tag("a"),), {})) == ((Tag("a"),), {})


class Callables:
    def method(self, a: set[int]) -> None: ...

    def __call__(self, a: set[int]) -> None: ...


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any: ...

    return wrapper


async def coroutine(a: set[int]) -> set[int]:
    return a


@pytest.mark.parametrize(
    "function",
    [
        Callables().method,
        Callables(),
        wrapped(Callables().method),
        coroutine,
        functools.partial(Callables.method, Callables()),
    ],
    ids=["method", "callable", "wrapped", "coroutine", "partial"],
)
def test_annotations_are_found_on_every_kind_of_callable(function: Callable[..., Any]) -> None:
    assert send(function, [1, 1]) == (({1},), {})


def test_a_partial_may_bind_what_then_need_not_be_sent() -> None:
    function = functools.partial(everything, 1, d={5})

    assert send(function, "b", 2) == (("b", 2.0), {})
    assert send(function, d=[6]) == ((), {"d": {6}})


def test_a_callable_that_tells_no_signature_takes_anything() -> None:
    assert send(dict, [(1, 2)], a={3}) == (([(1, 2)],), {"a": {3}})


def test_an_annotated_coroutines_result_is_what_it_returns() -> None:
    codec = CallCodec(coroutine)

    assert codec.decode_result(codec.encode_result({1, 2})) == {1, 2}


def charge(user_id: int, amount: Decimal, *, note: str = "secret default") -> None: ...


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((), {}, "charge(user_id, amount, *, note): missing a required argument: 'user_id'"),
        ((1,), {}, "charge(user_id, amount, *, note): missing a required argument: 'amount'"),
        ((1, 2, 3), {}, "charge(user_id, amount, *, note): too many positional arguments"),
        ((1, 2), {"user_id": 1}, "charge(user_id, amount, *, note): multiple values for argument 'user_id'"),
        ((1, 2), {"nope": 1}, "charge(user_id, amount, *, note): got an unexpected keyword argument 'nope'"),
        (
            (1,),
            {"amont": 2},
            (
                "charge(user_id, amount, *, note): got an unexpected keyword argument 'amont'; "
                "missing a required argument: 'amount'"
            ),
        ),
    ],
)
def test_a_call_that_does_not_fit_is_refused_at_both_ends(args: Any, kwargs: Any, says: str) -> None:
    codec = CallCodec(charge)
    with pytest.raises(ArgumentMismatch) as here:
        codec.encode_call(args, kwargs)
    with pytest.raises(ArgumentMismatch) as there:
        codec.decode_call(*BY_NAME.encode_call(args, kwargs))

    assert str(here.value) == str(there.value) == says


def test_a_call_that_fits_by_other_names_is_no_proof_for_the_next() -> None:
    codec = CallCodec(charge)
    codec.encode_call((1,), {"amount": 2})

    with pytest.raises(ArgumentMismatch):
        codec.encode_call((1,), {"note": "x"})


def test_arguments_beyond_the_named_ones_are_named_too() -> None:
    with pytest.raises(ArgumentMismatch, match=r"^argument '\*rest'\[1\]: expected int, got str$"):
        send(everything, 1, "b", 2, 3, "x", d=[])
    with pytest.raises(ArgumentMismatch, match=r"^argument 'more': expected date, got int$"):
        send(everything, 1, d=[], more=1)


def test_annotations_that_only_type_checkers_read_do_no_harm() -> None:
    def function(a: Final[int], *args: Any, **kwargs: Unpack[Options]) -> None: ...  # type: ignore[valid-type]

    assert send(function, 1, 2, depth=3) == ((1, 2), {"depth": 3})


def test_nothing_costs_nothing() -> None:
    def function() -> None: ...

    codec = CallCodec(function)

    assert codec.encode_call((), {}) == (b"", b"")
    assert codec.decode_call(b"", b"") == ((), {})
    assert codec.encode_result(None) == b"\x01\xc0"
    assert codec.decode_result(b"\x01\xc0") is None


@pytest.mark.parametrize("data", [b"", b"\x01", b"\x00\xc0", b"\x02\x80\x04.", b"\xff", b"\x01\xc0\xc0"])
def test_bytes_of_no_codec_are_no_message(data: bytes) -> None:
    for codec in (CallCodec(charge), BY_NAME):
        with pytest.raises(BadMessage):
            codec.decode_result(data)
        if data:
            with pytest.raises(BadMessage):
                codec.decode_call(data, b"")
            with pytest.raises(BadMessage):
                codec.decode_call(b"", data)


def test_the_codec_of_code_is_named() -> None:
    with pytest.raises(BadMessage, match="cloudpickle, which is loaded only if it is signed"):
        BY_NAME.decode_result(b"\x02\x80\x04.")
