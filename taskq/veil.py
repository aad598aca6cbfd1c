"""Texts without the values that are not to be shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from taskq.secret import MASK

SHORTEST = 4
"""Values below this many characters are not looked for in texts: they stand there by chance."""

_SHORT = 8
"""Values below this many characters are looked for where they are not part of a longer word or number."""

_LONG_LINE = 12  # a line of a value in several lines is looked for by itself from this length on
_PYDANTIC = re.compile(r", input_value=.{0,1000}?, input_type=[\w.]+(?=\])", re.DOTALL)
"""Where pydantic's errors quote what they were given, cut in its middle: pieces of a secret would not be known."""


class Veil:
    """Hides values in texts, as they are, as Python, JSON and URLs write them."""

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self._texts = {text for value in values for text in _forms(value) if len(text) >= SHORTEST}

    def over(self, text: str) -> str:
        """Give `text` with a mask in place of each value that stands in it."""
        if self._texts and "input_value=" in text:
            text = _PYDANTIC.sub("", text)
        found = sorted((value for value in self._texts if value in text), key=len, reverse=True)
        return re.sub("|".join(map(_sought, found)), MASK, text) if found else text


NO_VEIL = Veil()


def text_of(error: BaseException) -> str:
    """Give what an exception says."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a stranger's __str__
        return f"<{type(error).__name__} whose text cannot be made>"


def _sought(value: str) -> str:
    """Give the pattern that finds a value in a text."""
    pattern = re.escape(value)
    if len(value) >= _SHORT:
        return pattern
    # What precedes it may be escaped: `\n` or `%40`.
    before = r"(?:(?<![0-9A-Za-z])|(?<=\\[nrt])|(?<=%[0-9A-Fa-f]{2}))" if _is_word(value[0]) else ""
    return before + pattern + (r"(?![0-9A-Za-z])" if _is_word(value[-1]) else "")


def _is_word(character: str) -> bool:
    return character.isascii() and character.isalnum()


def _forms(value: Any) -> Iterator[str]:
    """Give the texts by which a value may stand in another text."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, bytes):
        yield repr(value)[2:-1]
        value = value.decode("utf-8", "replace")
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - an int of thousands of digits, or a stranger's __str__
        return
    from urllib.parse import quote, quote_plus

    yield text
    yield repr(text)[1:-1]
    yield repr(text.encode("utf-8", "replace"))[2:-1]
    for ascii_only in (True, False):
        yield json.dumps(text, ensure_ascii=ascii_only)[1:-1]
    yield quote(text, errors="replace")
    yield quote(text, safe="", errors="replace")
    yield quote_plus(text, errors="replace")
    yield from (line for line in text.splitlines() if len(line) >= _LONG_LINE)
