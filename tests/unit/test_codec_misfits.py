"""What does not fit its annotation, and annotations that nothing can fit: what is said of them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

import msgspec
import pytest

from taskq.codec import CallCodec
from taskq.errors import ArgumentMismatch, ConfigurationError, NotEncodable
from tests.unit.annotated import BY_NAME, Address, Colour, Node, Planet, Tag, annotated, send, send_by_name


@pytest.mark.parametrize("sender", [send, send_by_name])
@pytest.mark.parametrize(
    ("annotation", "value", "says"),
    [
        (int, "7", "argument 'it': expected int, got str"),
        (int | None, "7", "argument 'it': expected int | None, got str"),
        (str, [1], "argument 'it': expected str, got list"),
        (bytes, "aGVsbG8=", "argument 'it': expected bytes, got str"),
        (dict[str, list[int]], {"a": [1, "x"]}, "argument 'it'[...][1]: expected int, got str"),
        (dict[int, int], {"a": 1}, "argument 'it' (a key): expected int, got str"),
        (Address, {"lines": []}, "argument 'it': object missing required field city"),
        (Address, {"city": 1}, "argument 'it'.city: expected str, got int"),
        (Tag, {"name": "x", "colour": "pink"}, "argument 'it'.colour: invalid enum value 'pink'"),
        (Annotated[int, msgspec.Meta(ge=0)], -1, "argument 'it': expected int >= 0"),
        (Planet, 3, "argument 'it': 3 is not a valid Planet"),
        (tuple[int, int], [1], "argument 'it': expected list of length 2, got 1"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(
    sender: Callable[..., Any], annotation: Any, value: Any, says: str
) -> None:
    function = annotated(annotation)
    with pytest.raises(ArgumentMismatch) as by_position:
        sender(function, value)
    with pytest.raises(ArgumentMismatch) as by_keyword:
        sender(function, it=value)
    codec = CallCodec(function)
    with pytest.raises(ArgumentMismatch) as returned:
        codec.decode_result(codec.encode_result(value))

    assert str(by_position.value) == str(by_keyword.value) == says
    assert str(returned.value).endswith(says.removeprefix("argument 'it'"))
    assert str(returned.value).startswith("the result of annotated.<locals>.function()")


@dataclass
class Picky:
    x: int

    def __post_init__(self) -> None:
        if self.x < 0:
            raise KeyError("negative")


def test_a_mismatch_comes_without_the_tracebacks_of_msgspec() -> None:
    with pytest.raises(ArgumentMismatch) as raised:
        send_by_name(annotated(int), "7")

    assert "ValidationError" not in "".join(traceback.format_exception(raised.value))


def test_what_a_class_raises_while_it_is_rebuilt_is_a_mismatch() -> None:
    with pytest.raises(ArgumentMismatch, match=r"^argument 'it': KeyError: 'negative'$") as raised:
        send_by_name(annotated(Picky), {"x": -1})
    assert isinstance(raised.value.__cause__, KeyError)


class Session:
    pass


@pytest.mark.parametrize("annotation", [Any, Address, int, dict[str, Any], list[Node]], ids=str)
def test_the_path_to_what_cannot_travel_begins_at_the_argument(annotation: Any) -> None:
    codec = CallCodec(annotated(annotation))
    bad = Address("Ulm", ("x", Session()))  # type: ignore[arg-type]

    with pytest.raises(NotEncodable, match=rf"^args\[0\].lines\[1\] \({__name__}.Session\) cannot travel"):
        codec.encode_call((bad,), {})
    with pytest.raises(NotEncodable, match=r"^kwargs\['it'\].lines\[1\] "):
        codec.encode_call((), {"it": bad})
    with pytest.raises(NotEncodable, match=r"^result\['items'\]\[2\] "):
        codec.encode_result({"items": [1, 2, Session()]})


def test_a_cycle_through_annotated_classes_is_refused() -> None:
    node = Node(1)
    node.next = node

    with pytest.raises(NotEncodable, match=r"^args\[0\].next.next.*does it contain itself"):
        CallCodec(annotated(Node)).encode_call((node,), {})


@dataclass
class Left:
    x: int


@dataclass
class Right:
    y: int


class Reader(Protocol):
    def read(self) -> bytes: ...


@dataclass
class Reads:
    source: Reader


@pytest.mark.parametrize(
    ("annotation", "why"),
    [
        (Left | Right, "more than one dataclass"),
        (list[Left | dict[str, int]], "more than one dict-like type"),
        (Colour | str, "more than one str-like type"),
        (Literal[Colour.RED], "Literal"),
        (Reads, "runtime_checkable"),
    ],
    ids=str,
)
def test_an_annotation_that_promises_what_cannot_arrive_is_refused_at_the_first_use(
    annotation: Any, why: str
) -> None:
    def job(it: Any) -> None: ...

    job.__annotations__["it"] = annotation
    codec = CallCodec(job)
    with pytest.raises(ConfigurationError, match=rf"^parameter 'it' of .*job\(\) cannot arrive .*{why}"):
        codec.encode_call((1,), {})
    with pytest.raises(ArgumentMismatch, match=r"^parameter 'it' of "):
        codec.decode_call(*BY_NAME.encode_call((1,), {}))
