"""The walk over values that no annotation describes: puts in the Ext codes, finds what cannot travel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache, partial
from io import IOBase
from typing import Any, cast
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.msgpack import Ext

from taskq.codec import ext, models
from taskq.errors import NotEncodable
from taskq.secret import Secret, revealed

DEPTH = 100
"""How deep values may nest, what msgpack lacks included. Far below Python's limit: who encodes can decode."""

TRUSTED: frozenset[type] = frozenset({type(None), bool, int, float, str, bytes, bytearray})
"""Types that msgpack carries as they are, but for ints over 64 bits and text with lone surrogates."""

_ATOMS = (type(None), int, float, str, bytes, memoryview, date, time, timedelta, Decimal, UUID)

Handler = Callable[["Walk", Any, int], Any]


class _Culprit(Exception):
    """What cannot travel, and the steps to it, innermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[str] = []


class Walk:
    """Turns values into what the encoder writes without loss.

    The fast walk leaves `TRUSTED` values to the encoder, whose errors name no path. Whoever gets one, or any
    other error, walks again with the careful one.
    """

    def __init__(self, trusted: frozenset[type], foreign: Callable[[Any], Any] | None = None) -> None:
        self.trusted = trusted
        self.foreign = foreign

    def __call__(self, value: object, left: int = DEPTH) -> Any:
        kind = type(value)
        if kind in self.trusted:
            return value
        if not left:
            raise _Culprit(f"is nested deeper than {DEPTH} levels; does it contain itself?")
        handler = _HANDLERS.get(kind) or _handler_of(kind)  # type: ignore[arg-type] # a class hashes
        return handler(self, value, left - 1)


class _CarefulWalk(Walk):
    def __call__(self, value: object, left: int = DEPTH) -> Any:
        try:
            return super().__call__(value, left)
        except _Culprit:
            raise
        except Exception as error:  # properties, serializers and time zones run users' code
            raise _Culprit(f"({_name_of(value)}) cannot travel: {error}") from error


fast: Walk = Walk(TRUSTED)
_careful: Walk = _CarefulWalk(TRUSTED - {int, str})


def careful(value: Any, path: str) -> Any:
    """Walk over `value` trusting nothing.

    Raises:
        NotEncodable: something in it cannot travel; the message begins with the path to it.
    """
    try:
        return _careful(value)
    except _Culprit as culprit:
        steps = culprit.steps[::-1]
        shown = "".join(steps if len(steps) < 12 else [*steps[:10], "…"])
        raise NotEncodable(f"{path}{shown} {culprit.reason}") from culprit.__cause__


def _items(walk: Walk, values: Iterable[Any], left: int) -> Any:
    if walk.trusted.issuperset(map(type, values)):
        return values
    items: list[Any] = []
    try:
        for value in values:
            items.append(walk(value, left))  # noqa: PERF401 - their number tells where it stopped
    except _Culprit as culprit:
        culprit.steps.append("{…}" if isinstance(values, (set, frozenset)) else f"[{len(items)}]")
        raise
    return items


def _tuple(walk: Walk, value: tuple[Any, ...], left: int) -> Ext:
    return ext.pack_items(ext.TUPLE, _items(walk, value, left))


def _set_as(code: int) -> Handler:
    def pack(walk: Walk, value: Iterable[Any], left: int) -> Any:
        items = _items(walk, value, left)
        # A list where a set could not hold what arrives. An annotation makes a set of it again.
        return ext.pack_items(code, items) if items is value or all(map(_hashes, value)) else items

    return pack


def _hashes(member: Any) -> bool:
    """Whether what arrives of a hashable value can be hashed: not where it arrives as dict or list."""
    if isinstance(member, Enum):
        return _hashes(member.value)
    if isinstance(member, Secret):
        return _hashes(revealed(member))
    if isinstance(member, _ATOMS):
        return True
    return isinstance(member, (tuple, frozenset)) and all(map(_hashes, cast("Iterable[Any]", member)))


def _dict(walk: Walk, value: dict[Any, Any], left: int) -> Any:
    trusted = walk.trusted
    if trusted.issuperset(map(type, value)) and trusted.issuperset(map(type, value.values())):
        return value
    keys: list[Any] = []
    items: list[Any] = []
    for key, item in value.items():
        try:
            items.append(walk(item, left))
        except _Culprit as culprit:
            culprit.steps.append(f"[{_shown(key)}]")
            raise
        keys.append(key if type(key) in trusted else _key(walk, key, left))
    if Ext in map(type, keys):
        return ext.pack_items(ext.DICT, [part for pair in zip(keys, items, strict=True) for part in pair])
    walked = dict(zip(keys, items, strict=True))
    if len(walked) < len(value):
        raise _Culprit("has two keys that would arrive as one")
    return walked


def _key(walk: Walk, key: Any, left: int) -> Any:
    try:
        walked = walk(key, left)
    except _Culprit as culprit:
        raise _Culprit(f"has the key {_shown(key)}, which {culprit.reason}") from culprit.__cause__
    if not _hashes(key):
        raise _Culprit(f"has the key {_shown(key)}, which would arrive as a dict or a list")
    return walked


def _int(_: Walk, value: int, __: int) -> Any:
    number = int.__int__(value)
    return number if -(1 << 63) <= number < 1 << 64 else ext.pack_int(number)


def _str(_: Walk, value: str, __: int) -> str:
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _Culprit("(str) cannot travel: it has a lone surrogate, so it is no text; send bytes") from None
    return text


def _leaf(pack: Callable[[Any], Any]) -> Handler:
    return lambda _, value, __: pack(value)


def _secret(walk: Walk, value: Secret[Any], left: int) -> Ext:
    try:
        return ext.pack_secret(walk(value.reveal(), left))
    except _Culprit:
        raise _Culprit("is a secret, and something in it cannot travel") from None


def _enum(walk: Walk, value: Enum, left: int) -> Any:
    return walk(value.value, left)


def _model(walk: Walk, value: Any, left: int) -> Any:
    inside = type(walk)(walk.trusted, models.dump_leaf)
    try:
        return inside(models.dump(value), left)
    except _Culprit:
        # The dump has lost which dicts were models; the fields themselves know the path.
        _record(models.fields(value), {}, inside, value, left)
        raise


def _record(fields: list[tuple[str, str]], tag: dict[str, Any], walk: Walk, value: Any, left: int) -> Any:
    out = dict(tag)
    for attribute, name in fields:
        item = getattr(value, attribute)
        if item is UNSET:
            continue
        try:
            out[name] = walk(item, left)
        except _Culprit as culprit:
            culprit.steps.append(f".{attribute}")
            raise
    return out


def _array_struct(record: Handler, size: int, walk: Walk, value: Any, left: int) -> Any:
    items = list(record(walk, value, left).values())
    if len(items) < size:
        raise _Culprit("has a field that is UNSET, and an array has no gaps")
    return items


def _unknown(walk: Walk, value: object, left: int) -> Any:
    if walk.foreign is not None:
        return walk(walk.foreign(value), left)
    raise _Culprit(f"({_name_of(value)}) cannot travel; {_advice(type(value))}")


_HANDLERS: dict[type, Handler] = {
    list: _items,
    tuple: _tuple,
    dict: _dict,
    set: _set_as(ext.SET),
    frozenset: _set_as(ext.FROZENSET),
    datetime: _leaf(ext.pack_datetime),
    date: _leaf(ext.pack_date),
    time: _leaf(ext.pack_time),
    timedelta: _leaf(ext.pack_timedelta),
    Decimal: _leaf(ext.pack_decimal),
    UUID: _leaf(ext.pack_uuid),
    memoryview: _leaf(memoryview.tobytes),
    Secret: _secret,
    int: _int,
    str: _str,
    # Only values of a subclass come here: the types themselves are trusted.
    float: _leaf(float.__float__),
    bytes: _leaf(lambda value: bytes(memoryview(value))),
    bytearray: _leaf(lambda value: bytes(memoryview(value))),
}


@lru_cache(maxsize=1024)
def _handler_of(kind: type[object]) -> Handler:
    if _is_numpy(kind):
        return _unknown
    if issubclass(kind, Enum):
        return _enum
    if models.is_model(kind):
        return _model
    if issubclass(kind, Struct):
        return _struct(kind)
    if dataclasses.is_dataclass(kind):
        return partial(_record, [(field.name, field.name) for field in dataclasses.fields(kind)], {})
    if attributes := getattr(kind, "__attrs_attrs__", None):
        return partial(_record, [(field.name, field.name) for field in attributes], {})
    return next((_HANDLERS[base] for base in kind.__mro__ if base in _HANDLERS), _unknown)


def _struct(kind: type[Struct]) -> Handler:
    config = kind.__struct_config__
    tag = {} if config.tag is None else {config.tag_field or "type": config.tag}
    fields = list(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
    record = partial(_record, fields, tag)
    return partial(_array_struct, record, len(tag) + len(fields)) if config.array_like else record


def _is_numpy(kind: type[object]) -> bool:
    return kind.__module__.partition(".")[0] == "numpy"


def _advice(kind: type[object]) -> str:
    if _is_numpy(kind):
        return "send value.item() or value.tolist()"
    if issubclass(kind, IOBase):
        return "send its path, or its bytes"
    if hasattr(kind, "__iter__"):
        return "send a list or a dict of it"
    if hasattr(kind, "__fspath__"):
        return "send str(value)"
    return "send plain data, a dataclass, or an id by which the task finds it"


def _name_of(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(key: Any) -> str:
    try:
        text = repr(key)
    except Exception:  # noqa: BLE001 - an int of thousands of digits, or a __repr__ of a user's
        text = f"<{_name_of(key)}>"
    return text if len(text) <= 60 else f"{text[:59]}…"
