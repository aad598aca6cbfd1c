"""What to say of a value that does not fit its annotation."""

from __future__ import annotations

import re

from msgspec import ValidationError

from taskq.errors import ArgumentMismatch

_PLACE = re.compile(r"(?P<what>.*) - at `(?P<key>key` in `)?\$(?P<where>[^`]*)`", re.DOTALL)
_QUOTED = re.compile(r"`([^`]*)`")
_LONGEST = 500


def mismatch(label: str, error: Exception) -> ArgumentMismatch:
    """Say that what `label` names does not fit: `argument 'user_id': expected int, got str`."""
    text = str(error)
    if not isinstance(error, ValidationError):
        kind = "" if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: "
        return ArgumentMismatch(f"{label}: {kind}{text[:_LONGEST]}")
    where = ""
    if place := _PLACE.fullmatch(text):
        text = place["what"]
        where = place["where"] + (" (a key)" if place["key"] else "")
    text = _QUOTED.sub(lambda quoted: _in_python(quoted[1]), text)
    return ArgumentMismatch(f"{label}{where}: {text[:1].lower()}{text[1:_LONGEST]}")


def _in_python(type_name: str) -> str:
    # msgspec names types as JSON does.
    for theirs, ours in (("null", "None"), ("array", "list"), ("object", "dict")):
        type_name = re.sub(rf"\b{theirs}\b", ours, type_name)
    return type_name
