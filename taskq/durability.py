"""How safe a message is before `enqueue` returns, as people write it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

import msgspec

Durability = str
"""`"relaxed"`: the server has the message. `"fsync"`: its disk, too. `"replicated:N"`: N of its replicas, too."""

RELAXED = "relaxed"

_REPLICATED = re.compile(r"replicated:([1-9][0-9]{0,2})")
_EXPECTED = "durability is 'relaxed', 'fsync', or 'replicated:N' with N replicas, as 'replicated:1'"


class Needs(msgspec.Struct, frozen=True):
    """What is waited for: the server's disk, and how many replicas."""

    fsync: bool = False
    replicas: int = 0

    def __str__(self) -> str:
        told = ["fsync"] if self.fsync else []
        return " and ".join([*told, f"replicated:{self.replicas}"] if self.replicas else told)


def check_durability(value: Durability) -> Durability:
    """Return `value` if it is a durability.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not (value in (RELAXED, "fsync") or _REPLICATED.fullmatch(value)):
        raise ValueError(_EXPECTED)
    return value


@cache
def needs_of(durability: Durability) -> Needs | None:
    """Give what a durability waits for; None where that is nothing."""
    if durability == RELAXED:
        return None
    found = _REPLICATED.fullmatch(durability)
    return Needs(replicas=int(found[1])) if found else Needs(fsync=True)


def strongest(all_needs: Iterable[Needs | None]) -> Needs | None:
    """Give what meets all of these."""
    some = [needs for needs in all_needs if needs is not None]
    if not some:
        return None
    return Needs(any(needs.fsync for needs in some), max(needs.replicas for needs in some))
