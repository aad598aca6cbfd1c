"""The way in: as annotated at first, and one by one where that fails."""

from __future__ import annotations

from collections.abc import Callable
from types import GenericAlias
from typing import Any, TypedDict

from msgspec import Raw, ValidationError
from msgspec.msgpack import Decoder

from taskq.codec.mismatch import mismatch
from taskq.codec.plan import Plan
from taskq.codec.slots import OPEN, Slot, decoder
from taskq.codec.values import MSGPACK, payload
from taskq.errors import BadMessage
from taskq.redaction import Redaction, is_marked

_split_args = Decoder(list[Raw]).decode
_split_kwargs = Decoder(dict[str, Raw]).decode

# msgpack writes fewer than 16 items with their number in the first byte, added to one of these.
_FEW = 16
_ARRAY = 0x90
_MAP = 0x80


class Reader:
    """Reads the calls and the results of one function."""

    def __init__(self, plan: Plan, redaction: Redaction) -> None:
        self._plan = plan
        self._redaction = redaction
        self._args_decoders = _by_head(plan)
        self._kwargs_decoder = _of_named(plan)

    def call(self, args: bytes, kwargs: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        try:
            # By the first two bytes, which are the codec and the number of arguments.
            values = self._args_decoders[args[:2]](memoryview(args)[1:]) if args else ()
            named = self._named(kwargs) if kwargs else {}
        except Exception:  # noqa: BLE001 - whatever it is, a closer look finds it again
            return self._one_by_one(args, kwargs)
        if (len(values), *named) not in self._plan.shapes:
            self._plan.bind(values, named)
        return values, named

    def result(self, data: bytes) -> Any:
        result = self._plan.result
        return self._read(result, payload(data), f"the result of {self._plan.name}()", result.secret)

    def _named(self, data: bytes) -> dict[str, Any]:
        named: dict[str, Any] = self._kwargs_decoder(memoryview(data)[1:])
        if data[:2] != MSGPACK + bytes([_MAP + len(named)]):
            raise LookupError("a name that is unknown, or there twice, was dropped")
        return named

    def _one_by_one(self, args: bytes, kwargs: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        values: list[Raw] = _split(_split_args, args) if args else []
        named: dict[str, Raw] = _split(_split_kwargs, kwargs) if kwargs else {}
        plan = self._plan
        plan.bind(values, named)
        marks = plan.marks(self._redaction.hides)
        slots = enumerate(zip(plan.slots(len(values)), values, strict=True))
        return (
            tuple(
                self._read(slot, value, f"argument {plan.label(index)}", is_marked(index, marks))
                for index, (slot, value) in slots
            ),
            {
                name: self._read(plan.slot_named(name), value, f"argument {name!r}", is_marked(name, marks))
                for name, value in named.items()
            },
        )

    def _read(self, slot: Slot, data: memoryview | Raw, label: str, secret: bool) -> Any:
        try:
            return slot.read(data)
        except BadMessage:
            raise
        except Exception as error:  # noqa: BLE001 - classes run code of their own
            fault = mismatch(label, error, secret, self._redaction.hides)
            if isinstance(error, ValidationError) and error.__cause__ is None:
                fault.__cause__ = None  # no code of users' ran, and the message has all that msgspec's says
        raise fault


def _split(split: Callable[[memoryview], Any], data: bytes) -> Any:
    try:
        return split(payload(data))
    except BadMessage:
        raise
    except Exception as error:
        raise BadMessage(f"the arguments are no msgpack of ours: {error}") from error


def _by_head(plan: Plan) -> dict[bytes, Callable[[memoryview], tuple[Any, ...]]]:
    most = _FEW - 1 if plan.rest else min(_FEW - 1, len(plan.positional))
    decoders: dict[bytes, Callable[[memoryview], tuple[Any, ...]]] = {}
    for count in range(1, most + 1):
        slots = plan.slots(count)
        if all(slot.finish is None for slot in slots):
            annotations = tuple(slot.annotation for slot in slots)
            decoders[MSGPACK + bytes([_ARRAY + count])] = decoder(GenericAlias(tuple, annotations))
    return decoders


def _of_named(plan: Plan) -> Callable[[memoryview], dict[str, Any]]:
    if plan.others is None:
        fields = {name: slot.annotation for name, slot in plan.named.items() if slot.finish is None}
        typed_dict: Any = TypedDict
        try:
            return decoder(typed_dict("Arguments", fields, total=False))
        except TypeError:  # Final and the like may annotate parameters, but not keys
            return _refuse
    if plan.others is OPEN and all(slot is OPEN for slot in plan.named.values()):
        return decoder(dict[str, Any])
    return _refuse


def _refuse(_: memoryview) -> Any:
    raise LookupError("these are read one by one")
