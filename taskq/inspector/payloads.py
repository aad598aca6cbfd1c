"""The store of payloads: whether it answers, and what lies there that nobody refers to any more.

That is found by asking the server for the tasks that objects belong to.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice

import msgspec

from taskq.broker.command import Steps, work
from taskq.broker.commands.reading import read
from taskq.broker.namespace import Namespace
from taskq.errors import BrokerDataLost, PayloadMissing, PayloadUnavailable
from taskq.inspector.doctor import Check, Found, Patient, ok, problem, warning
from taskq.inspector.scan import pairs_of
from taskq.payloads import Payloads, owner_of
from taskq.stores import PayloadStore

AGE_S = 3_600.0
"""How old an object must be to be swept. It is written before its message, which follows in two minutes or never."""

_PAGE = 500
_NOBODYS = "0-doctor~m0"
"""The name of an object that is nowhere."""


class Swept(msgspec.Struct, frozen=True):
    """What a sweep found: objects that are old enough to be looked at, those without a task, and their bytes."""

    looked: int
    removed: int
    bytes: int


def store_check(store: PayloadStore) -> Check:
    """Make the check of a store for the doctor, who only reads: what it wrote might be another user's than workers'."""

    def payloads(_: Patient) -> Steps[list[Found]]:
        try:
            yield work(partial(store.get, _NOBODYS, 0))
        except PayloadMissing:
            return [ok(f"{store!r} answers")]
        except PayloadUnavailable as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return [warning(f"{error}; the first write makes it, unless a disk should be mounted there")]
            return [problem(f"{error}: tasks whose payloads lie there fail and are tried again")]
        return [ok(f"{store!r} answers")]

    return payloads


def sweep(
    payloads: Payloads, namespace: Namespace, age_s: float = AGE_S, *, dry_run: bool = False
) -> Steps[Swept]:
    """Remove the objects that are `age_s` seconds old and whose task has neither record nor message any more.

    `dry_run` only counts them.

    Raises:
        PayloadUnavailable: the store is out of reach, or none is configured.
        BrokerDataLost: the server knows nothing of this namespace, so that it cannot say what is needed.
    """
    store = payloads.reach()
    keys = namespace.keys[0]
    if not (yield read(keys, "EXISTS", keys.meta)):
        raise BrokerDataLost(
            f"the server has no namespace {keys.namespace!r}: it is another one, or has lost its data; nothing is swept"
        )
    looked = removed = size = 0
    found = yield work(partial(store.old, age_s))
    while page := (yield work(partial(_page, found))):
        looked += len(page)
        orphans = yield from _orphans(namespace, [name for name, _ in page])
        if orphans and not dry_run:
            yield work(partial(_remove, store, orphans))
        removed += len(orphans)
        size += sum(length for name, length in page if name in orphans)
    return Swept(looked, removed, size)


def _page(found: Iterator[tuple[str, int]]) -> list[tuple[str, int]]:
    return list(islice(found, _PAGE))


def _remove(store: PayloadStore, names: set[str]) -> None:
    store.remove(names)


def _orphans(namespace: Namespace, names: list[str]) -> Steps[set[str]]:
    orphans: set[str] = set()
    for keys in namespace.keys:
        mine = [name for name in names if namespace.keys_of(owner_of(name)) == keys]
        known = yield from pairs_of(keys, [owner_of(name) for name in mine])
        orphans.update(name for name in mine if known.get(owner_of(name), (b"", b"")) == (None, None))
    return orphans
