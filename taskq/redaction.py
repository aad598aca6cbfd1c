"""What is shown of arguments and results, and what is not: by name and by mark. By value within texts: `taskq.veil`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from operator import is_
from typing import Any, cast

from taskq.secret import MASK, Secret, revealed
from taskq.veil import NO_VEIL, Veil

PATTERNS = (
    "*password*",
    "*passwd*",
    "*passphrase*",
    "*secret*",
    "*token",
    "*api_key*",
    "*apikey*",
    "*private_key*",
    "*authorization*",
    "*credential*",
    "*cookie*",
)
"""Names whose values are not shown where an app says nothing: as in a shell, in any case, `-` being `_`.

What is counted in tokens (`max_tokens`), their types and their makers (`tokenizer`) are no secrets, so `token` is at
the end of a name.
"""

Marks = Sequence[int | str]
"""Which arguments of a call are secret, as its message says it: places from 0 on, and names.

A negative number, -1 - place, stands for that place and all behind it; `**` for all that are given by name; what begins
with `~` is a pattern of the app's own, which holds for keys and fields inside the arguments, too.
"""

ALL_NAMES = "**"
_PATTERN = "~"
_MOST_PATTERNS, _LONGEST_PATTERN = 100, 200  # of those that a message brings

_DEEPEST = 64
_MOST = 100_000
_PLAIN = frozenset({type(None), bool, int, float, str, bytes})
_SEQUENCES = (list, tuple, set, frozenset)
_COMMON = frozenset({type(None), bool, int, float})
_WORDS = frozenset({"true", "false", "none", "null"})

_OPEN, _NAMED, _DECLARED = range(3)
"""What is known of a value in a search: nothing, that a name hides it, that it was declared to be secret."""


def is_marked(argument: int | str, marks: Marks) -> bool:
    """Whether an argument, by its place or by its name, is secret."""
    if argument in marks:
        return True
    if isinstance(argument, str):
        return ALL_NAMES in marks
    return any(isinstance(mark, int) and mark < 0 and argument >= -1 - mark for mark in marks)


class Redaction:
    """Knows by patterns which names hide what they name."""

    def __init__(self, patterns: Iterable[str] = PATTERNS) -> None:
        self.patterns = tuple(patterns)
        self.hides: Callable[[object], bool] = lru_cache(4_096)(self._matches) if self.patterns else _nothing
        """Say whether what has a name, or stands under a key, is not shown."""
        self._regex: re.Pattern[str] | None = None

    @property
    def own(self) -> list[str]:
        """The patterns that are not the usual ones, as marks."""
        return [_PATTERN + pattern for pattern in self.patterns if pattern not in PATTERNS]

    def knowing(self, marks: Marks) -> Redaction:
        """Give a redaction that knows the patterns among `marks`, too."""
        more = tuple(
            mark[1:_LONGEST_PATTERN]
            for mark in marks
            if isinstance(mark, str) and mark.startswith(_PATTERN) and mark[1:] not in self.patterns
        )
        return redaction_of(self.patterns + more[:_MOST_PATTERNS]) if more else self

    def _matches(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        if self._regex is None:
            from fnmatch import translate

            self._regex = re.compile("|".join(translate(_spelled(pattern)) for pattern in self.patterns))
        return self._regex.match(_spelled(name)) is not None

    def call(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], marks: Marks
    ) -> tuple[list[Any], dict[str, Any]]:
        """Give a call's arguments as they are shown."""
        shown = [MASK if is_marked(place, marks) else self.shown(arg) for place, arg in enumerate(args)]
        named = {
            name: MASK if is_marked(name, marks) or self.hides(name) else self.shown(arg)
            for name, arg in kwargs.items()
        }
        return shown, named

    def shown(self, value: Any, left: int = _DEEPEST) -> Any:
        """Give a value as it is shown: what has a name that hides it is masked, at any depth."""
        kind = cast("type[object]", type(value))
        if kind in _PLAIN or not left:
            return value
        if kind in _SEQUENCES:
            items = [self.shown(item, left - 1) for item in value]
            if all(map(is_, items, value)):
                return value
            return items if kind is list else tuple(items)
        named: dict[Any, Any] = value if issubclass(kind, dict) else _fields(value)
        said = {
            name: MASK if self.hides(name) else self.shown(item, left - 1) for name, item in named.items()
        }
        if all(map(is_, said.values(), named.values())):
            return value
        if kind is dict:
            return said
        unsaid = _unsaid(value)
        fields = [f"{name}={item!r}" for name, item in said.items() if name not in unsaid]
        return _Shown(f"{kind.__qualname__}({', '.join(fields)})")

    def veil(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        marks: Marks,
        named: Marks = (),
        besides: Iterable[Any] = (),
    ) -> Veil:
        """Give what hides a call's secret values in texts. Of huge arguments the first 100,000 parts are looked at.

        `named` are those of `marks` that are secret by their name alone: of these, numbers and words as `true` stay
        in texts, where they stand by chance. `besides` are values that count as named, a Secret as ever.
        """
        search = _Search(self.hides)

        def known(argument: int | str) -> int:
            return (
                (_NAMED if is_marked(argument, named) else _DECLARED) if is_marked(argument, marks) else _OPEN
            )

        for place, arg in enumerate(args):
            search.look(arg, known(place))
        for name, arg in kwargs.items():
            search.look(arg, known(name) or (_NAMED if self.hides(name) else _OPEN))
        for value in besides:
            search.look(value, _NAMED)
        return Veil(search.found) if search.found else NO_VEIL


def check_patterns(patterns: Iterable[str]) -> tuple[str, ...]:
    """Give patterns as the configuration has them.

    Raises:
        TypeError: they are no list of texts.
    """
    found = tuple(patterns)
    if isinstance(patterns, str) or not all(isinstance(pattern, str) for pattern in found):
        raise TypeError("give a list of patterns, as ['*iban*'], or () for none")
    return found


@lru_cache(64)
def redaction_of(patterns: tuple[str, ...]) -> Redaction:
    """Give the redaction by these patterns, one for all that ask."""
    return Redaction(patterns)


DEFAULT = redaction_of(PATTERNS)


class _Search:
    """Collects the secret values of a call."""

    def __init__(self, hides: Callable[[object], bool]) -> None:
        self.found: list[Any] = []
        self._hides = hides
        self._parts = _MOST

    def look(self, value: Any, known: int, left: int = _DEEPEST) -> None:
        self._parts -= 1
        if self._parts < 0 or not left:
            return
        kind = cast("type[object]", type(value))
        if kind is Secret:
            self.look(revealed(value), _DECLARED, left - 1)
        elif isinstance(value, Enum):
            self.look(value.value, known, left - 1)
        elif kind in _PLAIN:
            if known == _DECLARED or (known and not _by_chance(value)):
                self.found.append(value)
        elif kind in _SEQUENCES:
            for item in cast("Iterable[Any]", value):
                self.look(item, known, left - 1)
        else:
            named: dict[Any, Any] = value if issubclass(kind, dict) else _fields(value)
            for name, item in named.items():
                self.look(item, known or (_NAMED if self._hides(name) else _OPEN), left - 1)
            if known and not named:
                self.found.append(value)


class _Shown:
    """Stands for an object, with a repr that hides what is secret in it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _nothing(_name: object) -> bool:
    return False


def _spelled(name: str) -> str:
    return name.lower().replace("-", "_")


def _fields(value: Any) -> dict[str, Any]:
    """Give the fields of a dataclass, a Struct, a model, or what else keeps its values by name; none of the rest."""
    kind = cast("type[object]", type(value))
    names: Iterable[str] = getattr(kind, "__struct_fields__", ())
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif attributes := getattr(kind, "__attrs_attrs__", ()):
        names = [field.name for field in attributes]
    elif issubclass(kind, tuple):
        names = getattr(value, "_fields", ())
    elif not names and not callable(value):
        names = getattr(value, "__dict__", ())
    found: dict[str, Any] = {}
    for name in names:
        with suppress(Exception):  # a field that was never set, or a property of a user's
            found[name] = getattr(value, name)
    return found


def _unsaid(value: Any) -> set[str]:
    """Give the fields that a dataclass, a model or an attrs class leaves out of its repr."""
    kind = cast("type[object]", type(value))
    fields: Mapping[str, Any] = getattr(kind, "__dataclass_fields__", {}) or getattr(
        kind, "__pydantic_fields__", {}
    )
    attributes: Iterable[Any] = getattr(kind, "__attrs_attrs__", ())
    every = fields or {attribute.name: attribute for attribute in attributes}
    return {name for name, field in every.items() if field.repr is False}


def _by_chance(value: Any) -> bool:
    """Whether a value may stand in any text, and is hardly a secret: a number, or `true`."""
    return type(value) in _COMMON or (isinstance(value, str) and value.strip().lower() in _WORDS)
