"""The fast way in: decoders that are told the annotations.

They raise in many ways, and none of them is final: the untyped way has the last word. It is needed where an
Ext code stands in an annotated place, as when the producer knew no annotations.
"""

from __future__ import annotations

from collections.abc import Callable
from types import GenericAlias
from typing import Any, TypedDict

from msgspec.msgpack import Decoder

from taskq.codec import ext, models
from taskq.codec.plan import Plan
from taskq.codec.slots import OPEN
from taskq.codec.values import MSGPACK

Decode = Callable[[Any], Any]

# msgpack writes fewer than 16 items with their number in the first byte, added to one of these.
_FEW = 16
_ARRAY = 0x90
_MAP = 0x80


class Decoders:
    """Decoders of one function's arguments and result, as annotated."""

    def __init__(self, plan: Plan) -> None:
        self.args = _by_head(plan)
        """By the first two bytes, which are the codec and the number of arguments."""
        self._result = _decoder(plan.result.annotation) if plan.result.finish is None else _refuse
        self._named = _of_named(plan)

    def result(self, data: bytes) -> Any:
        """Decode a result, codec byte included."""
        if data[:1] != MSGPACK:
            raise LookupError
        return self._result(memoryview(data)[1:])

    def kwargs(self, data: bytes) -> dict[str, Any]:
        """Decode named arguments, codec byte included."""
        named: dict[str, Any] = self._named(memoryview(data)[1:])
        # A name unknown, or there twice, was dropped.
        if data[:2] != MSGPACK + bytes([_MAP + len(named)]):
            raise LookupError
        return named


def _by_head(plan: Plan) -> dict[bytes, Decode]:
    most = _FEW - 1 if plan.rest else min(_FEW - 1, len(plan.positional))
    decoders: dict[bytes, Decode] = {}
    for count in range(1, most + 1):
        slots = plan.slots(count)
        if all(slot.finish is None for slot in slots):
            annotations = tuple(slot.annotation for slot in slots)
            decoders[MSGPACK + bytes([_ARRAY + count])] = _decoder(GenericAlias(tuple, annotations))
    return decoders


def _of_named(plan: Plan) -> Decode:
    if plan.others is None:
        fields = {name: slot.annotation for name, slot in plan.named.items() if slot.finish is None}
        typed_dict: Any = TypedDict
        try:
            return _decoder(typed_dict("Arguments", fields, total=False))
        except TypeError:  # Final and the like may annotate parameters, but not keys
            return _refuse
    if plan.others == OPEN and all(slot == OPEN for slot in plan.named.values()):
        return _decoder(dict[str, Any])
    return _refuse


def _decoder(annotation: Any) -> Decode:
    return Decoder(annotation, dec_hook=models.rebuild, ext_hook=ext.unpack).decode


def _refuse(_: Any) -> Any:
    raise LookupError
