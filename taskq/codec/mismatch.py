"""What to say of a value that does not fit its annotation."""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import ValidationError

from taskq.errors import ArgumentMismatch

_PLACE = re.compile(r"(?P<what>.*) - at `(?P<key>key` in `)?\$(?P<where>[^`]*)`", re.DOTALL)
_NAMES = re.compile(r"[^.\[\]]+")
_QUOTED = re.compile(r"`([^`]*)`")


def mismatch(label: str, error: Exception, secret: bool, hides: Callable[[object], bool]) -> ArgumentMismatch:
    """Say that what `label` names does not fit: `argument 'user_id': expected int, got str`.

    Of what is secret, as a whole or by the name of the part that does not fit, nothing more is said: the errors of
    Enums and of users' classes quote values. The text is as long as it is: whoever shows it masks it before he cuts it.
    """
    text = str(error)
    place = _PLACE.fullmatch(text) if isinstance(error, ValidationError) else None
    if secret or (place and any(map(hides, _NAMES.findall(place["where"])))):
        fault = ArgumentMismatch(f"{label}: it is secret, and does not fit its annotation")
        fault.__suppress_context__ = True
        return fault
    fault = _mismatch(label, error, text, place)
    fault.__cause__ = error
    return fault


def _mismatch(label: str, error: Exception, text: str, place: re.Match[str] | None) -> ArgumentMismatch:
    if not isinstance(error, ValidationError):
        kind = "" if isinstance(error, (TypeError, ValueError)) else f"{type(error).__name__}: "
        return ArgumentMismatch(f"{label}: {kind}{text}")
    where = ""
    if place:
        text = place["what"]
        where = place["where"] + (" (a key)" if place["key"] else "")
    if error.__cause__ is None:  # else these are the words of a user's class, which may be a secret
        text = _QUOTED.sub(lambda quoted: _in_python(quoted[1]), text)
        text = text[:1].lower() + text[1:]
    return ArgumentMismatch(f"{label}{where}: {text}")


def _in_python(type_name: str) -> str:
    # msgspec names types as JSON does.
    for theirs, ours in (("null", "None"), ("array", "list"), ("object", "dict")):
        type_name = re.sub(rf"\b{theirs}\b", ours, type_name)
    return type_name
