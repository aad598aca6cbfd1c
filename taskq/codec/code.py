"""Values that travel as code: what cloudpickle wrote, to be loaded only where a signature was verified.

After the codec's byte come Python's major and minor version, for functions are bytecode, which no other version reads.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

from taskq.errors import BadMessage, NotEncodable

PICKLE = b"\x02"
"""The codec byte of cloudpickle."""

_PYTHON = bytes(sys.version_info[:2])
_HEAD = PICKLE + _PYTHON


def dump(value: Any, what: str) -> bytes:
    """Encode anything: closures, lambdas, functions and classes of `__main__` too.

    Raises:
        NotEncodable: it cannot be pickled.
    """
    dumps: Callable[[Any], bytes] = importlib.import_module("cloudpickle").dumps  # it is not typed

    try:
        packed = dumps(value)
    except Exception as error:  # whatever a value's own code raises
        raise NotEncodable(f"{what} cannot be pickled: {error}") from error
    return _HEAD + packed


def load(data: bytes) -> Any:
    """Decode what `dump` wrote. It runs code: never give it bytes that no key of ours has signed.

    Raises:
        BadMessage: another version of Python wrote it, or what it needs is not here.
    """
    if data[1:3] != _PYTHON:
        theirs = ".".join(map(str, data[1:3]))
        ours = ".".join(map(str, _PYTHON))
        raise BadMessage(
            f"the value was pickled by Python {theirs}, and this is {ours}: give programs and workers the same"
        )
    import pickle

    try:
        return pickle.loads(memoryview(data)[3:])  # noqa: S301 - it is signed by who may run code here
    except Exception as error:  # a module that is not here, a class that has changed
        raise BadMessage(
            f"the pickled value cannot be loaded here: {type(error).__name__}: {error}"
        ) from error
