"""How inputs are changed: as bytes, as decimal text, and as the msgpack that they are, at any depth."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.msgpack import Ext

LONGEST = 1 << 16
"""The most bytes an input may have."""

_DIGITS = re.compile(rb"\d+")
_TEXTS = (
    "", "|", ":", "\x00", "\n", "\x1b[2J", "../../etc/passwd", "os:system", "builtins.eval", "~" + "*a" * 40,
    "{a}b", "x" * 300, "é" * 70, "𝕏", "default", "a b", "%s%n", "<script>", "=cmd()", "Europe/Berlin",
)  # fmt: skip
_NUMBERS = (
    0, 1, -1, 9, 10, 127, 128, 255, 256, 65_535, 1 << 31, 1 << 32, (1 << 53) + 1, (1 << 63) - 1, 1 << 63,
    (1 << 64) - 1, -(1 << 63), 253_402_300_800_000, 3_153_600_000_001,
)  # fmt: skip
_OTHERS: tuple[Any, ...] = (
    None, True, False, 0.0, -0.0, 1e308, float("inf"), float("-inf"), float("nan"), b"", b"\x01\x90",
    b"\x02\x03\x0b\x80\x04N.", [], {}, [[]], {"": None}, [0] * 70, Ext(2, b"\x90"), Ext(99, b""), Ext(1, b"\xff" * 9),
)  # fmt: skip
INTERESTING: tuple[Any, ...] = (*_TEXTS, *_NUMBERS, *_OTHERS)
_BYTES = (
    0,
    1,
    2,
    4,
    7,
    8,
    0x1F,
    0x20,
    0x7C,
    0x7F,
    0x80,
    0x90,
    0xA0,
    0xC0,
    0xC1,
    0xC7,
    0xD4,
    0xDD,
    0xDF,
    0xFF,
)
_WORDS: tuple[bytes, ...] = (
    b"|", b"||", b":", b" ", b"\n", b"\x00", b"\xff\xfe", b"-1", b"1e9", b"nan", b"-inf", b"9" * 25, b"9" * 5_000,
    b"default:5", b"S|1|p|", b"r|1|p|default:5|0|0|", b"\xdd\xff\xff\xff\xff", b"\xc9\xff\xff\xff\xff\x02",
    b"\x01\x81\xa1a", b"redis://u:p@h/0?x=1", b"[tool.taskq]\n", b"1:1:1:1",
)  # fmt: skip


class Mutator:
    """Makes new inputs out of old ones. The same seed gives the same ones."""

    def __init__(self, luck: random.Random) -> None:
        self._luck = luck
        self._ways = (
            self._flip, self._set, self._insert, self._delete, self._repeat, self._word, self._cut, self._number,
            self._splice,
        )  # fmt: skip

    def __call__(self, data: bytes, others: Sequence[bytes]) -> bytes:
        """Change `data` in one to four ways; `others` are what it may be joined with."""
        for _ in range(self._luck.choice((1, 1, 1, 2, 3, 4))):
            if self._luck.random() < 0.4 and (changed := self._as_tree(data)) is not None:
                data = changed
            else:
                data = self._luck.choice(self._ways)(data, others)
            data = data[:LONGEST]  # each time: what grows fifty times, twice, is soon more than memory
        return data

    def _at(self, data: bytes) -> int:
        return self._luck.randrange(len(data) + 1)

    def _flip(self, data: bytes, _: Sequence[bytes]) -> bytes:
        if not data:
            return b"\x00"
        changed = bytearray(data)
        changed[self._luck.randrange(len(data))] ^= 1 << self._luck.randrange(8)
        return bytes(changed)

    def _set(self, data: bytes, _: Sequence[bytes]) -> bytes:
        if not data:
            return b"\xff"
        changed = bytearray(data)
        changed[self._luck.randrange(len(data))] = self._luck.choice(_BYTES)
        return bytes(changed)

    def _insert(self, data: bytes, _: Sequence[bytes]) -> bytes:
        at = self._at(data)
        return data[:at] + self._luck.randbytes(self._luck.randint(1, 8)) + data[at:]

    def _delete(self, data: bytes, _: Sequence[bytes]) -> bytes:
        at = self._at(data)
        return data[:at] + data[at + self._luck.randint(1, 8) :]

    def _repeat(self, data: bytes, _: Sequence[bytes]) -> bytes:
        at = self._at(data)
        part = data[at : at + self._luck.randint(1, 32)]
        return data[:at] + part * self._luck.choice((2, 3, 64, 700)) + data[at:]

    def _word(self, data: bytes, _: Sequence[bytes]) -> bytes:
        at, word = self._at(data), self._luck.choice(_WORDS)
        return data[:at] + word + data[at + self._luck.choice((0, len(word))) :]

    def _cut(self, data: bytes, _: Sequence[bytes]) -> bytes:
        return data[: self._at(data)]

    def _number(self, data: bytes, _: Sequence[bytes]) -> bytes:
        found = [*_DIGITS.finditer(data)]
        if not found:
            return self._set(data, ())
        one = self._luck.choice(found)
        return data[: one.start()] + b"%d" % self._luck.choice(_NUMBERS) + data[one.end() :]

    def _splice(self, data: bytes, others: Sequence[bytes]) -> bytes:
        other = self._luck.choice(others) if others else b""
        return data[: self._at(data)] + other[self._at(other) :]

    # -- as msgpack

    def _as_tree(self, data: bytes) -> bytes | None:
        """Change one value of the msgpack that begins in the first bytes of `data`, or behind its third `|`."""
        starts = [0, 1, 2]
        if data.count(b"|", 0, 200) >= 3:
            starts.insert(0, len(data) - len(data.split(b"|", 3)[3]))
        for start in starts:
            try:
                tree = msgspec.msgpack.decode(data[start:])
            except (ValueError, RecursionError):
                continue
            if isinstance(tree, (list, dict)):
                try:
                    return data[:start] + msgspec.msgpack.encode(self._changed(tree))
                except (ValueError, TypeError, OverflowError, RecursionError):
                    return None
        return None

    def _changed(self, value: Any) -> Any:
        luck = self._luck
        if isinstance(value, dict) and value and luck.random() < 0.9:
            pairs = list(value.items())
            at = luck.randrange(len(pairs))
            key, item = pairs[at]
            way = luck.random()
            if way < 0.1:
                del pairs[at]
            elif way < 0.2:
                pairs[at] = (luck.choice(_TEXTS), item)
            else:
                pairs[at] = (key, self._changed(item))
            return dict(pairs)
        if isinstance(value, list) and value and luck.random() < 0.9:
            items: list[Any] = list(value)
            if luck.random() < 0.2:
                return items * 50  # and nothing in it: at each depth, that would be all too much
            at = luck.randrange(len(items))
            items[at] = self._changed(items[at])
            return items
        if isinstance(value, Ext) and luck.random() < 0.7:
            return Ext(luck.choice((value.code, *range(1, 14))), self._changed_bytes(bytes(value.data)))
        if isinstance(value, bytes) and luck.random() < 0.7:
            return self._changed_bytes(value)
        if isinstance(value, str) and luck.random() < 0.3:
            return value + luck.choice(_TEXTS)
        return luck.choice(INTERESTING)

    def _changed_bytes(self, data: bytes) -> bytes:
        changed = self._as_tree(data) if self._luck.random() < 0.6 else None
        return self._luck.choice(self._ways)(data, ()) if changed is None else changed
