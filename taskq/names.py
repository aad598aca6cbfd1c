"""Names and ids: how they are made, and which characters they may have.

`|`, space, braces, `*` and control characters are refused everywhere: records are packed with `|`, and
Redis reads braces as a hash tag.
"""

from __future__ import annotations

import os
import re
import time
import zlib

from taskq.errors import BadName

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"  # https://www.crockford.com/base32.html
_PAIRS = [a + b for a in _CROCKFORD for b in _CROCKFORD]
_RANDOM = bytes(ord(_CROCKFORD[byte & 31]) for byte in range(256))
_latest = (0, "")  # the last ms and its ten characters, which the next ids share
_random_parts: list[str] = []  # the system's randomness, fetched for many ids at once
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random_parts.clear)  # a fork must not make its parent's ids
_AT_ONCE = 64
_BASE36 = "0123456789abcdefghijklmnopqrstuvwxyz"

_SHOWN = 200
"""How many characters of a name that is refused are shown."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TASK = re.compile(r"[A-Za-z0-9_.:<>-]{1,200}")
_ID = re.compile(r"[A-Za-z0-9_.:@-]{1,200}")
_GENERATED = re.compile(r"([0-9a-z]{1,4})-[0-9a-hjkmnp-tv-z]{26}")


def _checked(pattern: re.Pattern[str], what: str, value: str, allowed: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        shown = value[:_SHOWN] + "…" if isinstance(value, str) and len(value) > _SHOWN else value
        raise BadName(f"{what} {shown!r} is refused: it must be {allowed}")
    return value


def check_name(what: str, value: str) -> str:
    """Return `value` if it may name a queue, a namespace or an app.

    Raises:
        BadName: it is empty, over 64 characters, or has others than letters, digits and `_.-`.
    """
    return _checked(_NAME, what, value, "1 to 64 letters, digits, '_', '.' or '-'")


def check_task_name(value: str) -> str:
    """Return `value` if it may name a task.

    Raises:
        BadName: it is empty, over 200 characters, or has others than letters, digits and `_.:<>-`.
    """
    return _checked(_TASK, "the task name", value, "1 to 200 letters, digits, '_', '.', ':', '<', '>' or '-'")


def check_id(value: str) -> str:
    """Return `value` if it may be a task's id.

    Raises:
        BadName: it is empty, over 200 characters, or has others than letters, digits and `_.:@-`.
    """
    return _checked(_ID, "the id", value, "1 to 200 letters, digits, '_', '.', ':', '@' or '-'")


def is_id(value: str) -> bool:
    """True if `value` may be a task's id."""
    try:
        return bool(check_id(value))
    except BadName:
        return False


def is_name(value: str) -> bool:
    """True if `value` may be a queue's name."""
    try:
        return bool(check_name("the queue", value))
    except BadName:
        return False


def _base32(value: int, characters: int) -> str:
    pairs: list[str] = []
    for _ in range(characters // 2):
        pairs.append(_PAIRS[value & 1023])
        value >>= 10
    return "".join(reversed(pairs))


def new_task_id(shard: int = 0) -> str:
    """Make an id: the shard, `-`, and as a ULID has them 48 bits of ms and 80 random ones in base32."""
    global _latest
    ms, prefix = _latest
    now_ms = time.time_ns() // 1_000_000
    if now_ms != ms:
        prefix = _base32(now_ms, 10)
        _latest = now_ms, prefix
    return f"{_shard_text(shard)}-{prefix}{_random_part()}"


def _random_part() -> str:
    while True:
        try:
            return _random_parts.pop()  # in one step: no two threads get the same
        except IndexError:
            text = os.urandom(16 * _AT_ONCE).translate(_RANDOM).decode()
            _random_parts.extend(text[at : at + 16] for at in range(0, len(text), 16))


def new_process_id() -> str:
    """Make the name of one life of one process: 12 characters of base32, never used again."""
    return _base32(int.from_bytes(os.urandom(8), "big"), 12)


def _shard_text(shard: int) -> str:
    if shard == 0:
        return "0"
    text = ""
    while True:
        shard, digit = divmod(shard, 36)
        text = _BASE36[digit] + text
        if not shard:
            return text


def shard_of(id: str, shards: int) -> int:
    """Give the shard that an id lives on: the one that a generated id names, else `crc32(id) mod shards`."""
    if shards == 1:
        return 0
    if generated := _GENERATED.fullmatch(id):
        return int(generated[1], 36) % shards
    return zlib.crc32(id.encode()) % shards


def unique_key(task: str, key: str) -> str:
    """Give the tail of a unique key's name; what is over 64 bytes is stored as its SHA-256.

    `:` and `%` in `key` are escaped, so that no two pairs of task and key share a name.
    """
    if not key:
        raise BadName("key='' is refused: leave it out, or name what must be unique")
    from hashlib import sha256
    from urllib.parse import quote

    try:
        escaped = quote(key, safe="@,=+!~")
    except UnicodeEncodeError:
        raise BadName(
            f"key={key!r} has half of a character (a lone surrogate), which cannot travel"
        ) from None
    return f"{task}:{escaped}" if len(escaped) <= 64 else f"{task}:{sha256(key.encode()).hexdigest()}"
