"""What an annotation says about how a value travels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass, replace
from enum import Enum
from functools import cached_property, lru_cache
from inspect import Parameter
from typing import Any, get_args

import msgspec
from msgspec import inspect
from msgspec.msgpack import Decoder

from taskq.codec import ext, models
from taskq.codec.values import untyped
from taskq.secret import Secret, is_secret, revealed

# What msgspec writes and, told the annotation, reads back as the same value. A datetime would lose its
# offset, a time its zone; Any, unknown classes, Ext and Raw say nothing.
_CLOSED = (
    inspect.NoneType,
    inspect.BoolType,
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.BytesType,
    inspect.ByteArrayType,
    inspect.MemoryViewType,
    inspect.DateType,
    inspect.TimeDeltaType,
    inspect.UUIDType,
    inspect.DecimalType,
    inspect.EnumType,
    inspect.LiteralType,
    inspect.UnionType,
    inspect.CollectionType,  # list, set, frozenset, tuple[X, ...]
    inspect.TupleType,
    inspect.DictType,
    inspect.TypedDictType,
    inspect.NamedTupleType,
    inspect.StructType,
    inspect.DataclassType,
    inspect.Metadata,
)
_BYTES = (bytes, bytearray, memoryview)  # msgpack has them: text is not base64 of some
_RECORDS = (inspect.StructType, inspect.DataclassType, inspect.NamedTupleType, inspect.TypedDictType)


class Inexpressible(Exception):
    """An annotation that promises a class which what arrives cannot be made into; the text says why."""


@dataclass(frozen=True, eq=False)
class Slot:
    """How a value that is annotated in one way travels."""

    annotation: Any = Any
    """What the decoder is told; Any where the annotation says nothing."""
    closed: bool = False
    """Whether the encoder may be given the value as it is."""
    finish: Callable[[Any], Any] | None = None
    """Makes the value of what arrived, where msgspec does not know how."""
    secret: bool = False
    """Whether the annotation has a Secret in it, so that nothing of the value is shown."""

    @cached_property
    def _decode(self) -> Callable[[memoryview | msgspec.Raw], Any]:
        return decoder(self.annotation)

    def read(self, data: memoryview | msgspec.Raw) -> Any:
        """Decode as annotated; if that fails, untyped, and then make what is annotated of it.

        Raises:
            BadMessage: this is no msgpack of ours.
            Exception: it does not fit; nearly always a `msgspec.ValidationError`, but a class's own code ran.
        """
        if self.finish is None:
            try:
                return self._decode(data)
            except Exception:  # noqa: BLE001 - an Ext code in an annotated place, or what is found again
                pass
        return self.make(untyped(data))

    def make(self, value: Any) -> Any:
        """Make what is annotated of what arrived untyped. Raises what `read` raises of a value that does not fit."""
        if not self.secret and self is not OPEN:
            value = revealed(value)  # who sent it wants it hidden, and the function the plain one
        if self.finish is not None:
            return self.finish(value)
        try:
            return msgspec.convert(value, self.annotation, builtin_types=_BYTES, dec_hook=_rebuild)
        except msgspec.ValidationError:
            # A bool is an int to Python, a datetime a date; not to msgspec.
            if _is_instance(value, self.annotation):
                return value
            raise


OPEN = Slot()


def decoder(annotation: Any) -> Callable[[Any], Any]:
    """Make what decodes payloads as annotated."""
    return Decoder(annotation, dec_hook=_rebuild, ext_hook=ext.unpack).decode


def slot_of(annotation: Any) -> Slot:
    """Find how values annotated with `annotation` travel.

    Raises:
        Inexpressible: they could not arrive as annotated.
    """
    if annotation is Parameter.empty or annotation is Any:
        return OPEN
    secrets = list(filter(is_secret, _named(annotation)))
    for part in secrets:
        _inside(part)
    slot = _slot_of(annotation)
    return replace(slot, secret=True) if secrets else slot


def _slot_of(annotation: Any) -> Slot:
    try:
        nodes = list(_nodes(inspect.type_info(annotation)))
    except Exception as error:  # noqa: BLE001 - its classes have annotations of their own, which are code
        return _beyond_msgspec(annotation, error)
    if all(isinstance(node, _CLOSED) for node in nodes):
        return Slot(annotation, closed=True)
    customs = [node.cls for node in nodes if isinstance(node, inspect.CustomType)]
    strangers = [cls for cls in customs if cls is not Secret and not models.is_model(cls)]
    if strangers and not any(isinstance(node, _RECORDS) for node in nodes):
        return OPEN
    for cls in strangers:
        try:
            isinstance(None, cls)
        except TypeError as error:
            raise Inexpressible(f"{cls.__qualname__}: {error}") from error
    return Slot(annotation)


def _beyond_msgspec(annotation: Any, error: Exception) -> Slot:
    choices = get_args(annotation) or (annotation,)
    members = [choice for choice in choices if choice is not type(None)]
    if len(members) == 1 and _is_enum(members[0]):
        return Slot(finish=_member_of(members[0], optional=len(choices) == 2))
    named = list(_named(annotation))
    if any(map(models.is_model, named)):
        try:
            return Slot(finish=models.rebuild_any(annotation))
        except Exception as fault:  # pydantic has errors of its own
            raise Inexpressible(str(fault)) from fault
    if any(map(_loses_its_class, named)):
        raise Inexpressible(str(error)) from error
    return OPEN


def _rebuild(cls: Any, value: Any) -> Any:
    """Make what msgspec does not know of what arrived: a Secret, or a model. The `dec_hook` of every decoder."""
    if not is_secret(cls):
        return models.rebuild(cls, value)
    return Secret(_inside(cls).make(revealed(value)))


@lru_cache(1024)
def _inside(secret: Any) -> Slot:
    """Find how the value of an annotated Secret travels."""
    return slot_of(next(iter(get_args(secret)), Any))


def _named(annotation: Any) -> Iterator[Any]:
    """Give an annotation and all that it is made of, but for the parameters of a Callable."""
    yield annotation
    for part in get_args(annotation):
        yield from _named(part)


def _nodes(root: inspect.Type) -> Iterator[inspect.Type]:
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            waiting.extend(node)  # pyright: ignore[reportUnknownArgumentType]
        elif isinstance(node, inspect.Field):
            waiting.append(node.type)
        elif isinstance(node, inspect.Type) and id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting.extend(getattr(node, name) for name in node.__struct_fields__)


def _loses_its_class(part: Any) -> bool:
    return (
        isinstance(part, Enum)
        or _is_enum(part)
        or is_dataclass(part)
        or hasattr(part, "__attrs_attrs__")
        or (isinstance(part, type) and issubclass(part, (msgspec.Struct, tuple)) and part is not tuple)
    )


def _is_enum(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, Enum)


def _member_of(cls: type[Enum], *, optional: bool) -> Callable[[Any], Any]:
    return lambda value: None if optional and value is None else cls(value)


def _is_instance(value: Any, annotation: Any) -> bool:
    try:
        return isinstance(value, annotation)
    except TypeError:
        return False
