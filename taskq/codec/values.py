"""Values as bytes: one byte that names the codec, then what that codec wrote."""

from __future__ import annotations

from typing import Any

from msgspec import Raw
from msgspec.msgpack import Decoder

from taskq.codec import ext, walk
from taskq.codec.code import PICKLE
from taskq.errors import BadMessage, NotEncodable

MSGPACK = b"\x01"
"""The codec byte of msgpack."""

_untyped = Decoder(ext_hook=ext.unpack).decode


def encode_value(value: Any, path: str = "value", *, closed: bool = False) -> bytes:
    """Encode a value; `closed` is one that is annotated so that msgspec alone can carry it.

    Raises:
        NotEncodable: something in it cannot travel; the message begins with the path to it, from `path` on.
    """
    try:
        return MSGPACK + ext.encode(value if closed else walk.fast(value))
    except Exception:  # noqa: BLE001 - the careful walk says what is wrong
        return write(walk.careful(value, path), path)


def write(walked: Any, path: str) -> bytes:
    """Encode what was walked over with care.

    Raises:
        NotEncodable: it is too large for msgpack.
    """
    try:
        return MSGPACK + ext.encode(walked)
    except Exception as error:
        raise NotEncodable(f"{path} cannot be encoded: {error}") from error


def decode_value(data: bytes) -> Any:
    """Decode what `encode_value` wrote.

    Raises:
        BadMessage: no codec of ours wrote these bytes.
    """
    return untyped(payload(data))


def payload(data: bytes) -> memoryview:
    """Give what follows the codec byte.

    Raises:
        BadMessage: that byte is not msgpack's.
    """
    if data[:1] != MSGPACK:
        if not data:
            raise BadMessage("a value of no bytes")
        known = (
            "cloudpickle, which is loaded only if it is signed" if data[:1] == PICKLE else "which is unknown"
        )
        raise BadMessage(f"the value's codec is {data[0]}, {known}")
    return memoryview(data)[1:]


def untyped(data: memoryview | Raw) -> Any:
    """Decode a payload of which no annotation is known.

    Raises:
        BadMessage: it is no msgpack of ours.
    """
    try:
        return _untyped(data)
    except Exception as error:  # RecursionError and what a reader of Ext codes raises among them
        raise BadMessage(f"the value is no msgpack of ours: {error}") from error
