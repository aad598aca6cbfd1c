"""Payloads that travel beside the server: an object in a store, and a reference to it in the message or the outcome.

An object is written before the message that refers to it is sent, and named after the task: `<id>~` and a random
end. So who finds an object can ask the server whether its task is still known. What a reference says is signed with
the rest of the message; size and SHA-256 hold the object against it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from taskq.config import AppConfig
from taskq.errors import (
    BadMessage,
    ConfigurationError,
    PayloadError,
    PayloadMismatch,
    PayloadTooLarge,
    PayloadUnavailable,
)
from taskq.frame import LARGEST, pack, unpack

if TYPE_CHECKING:
    from taskq.stores import PayloadStore


class Reference(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={"name": "n", "size": "s", "sha256": "h", "compressed": "z"},
):
    """Where a payload lies, and what must be found there. `size` counts the object's bytes."""

    name: str
    size: int
    sha256: bytes
    compressed: bool = False

    def __str__(self) -> str:
        return f"<offloaded, {self.size:,} bytes, {self.name}>"


class Aside(msgspec.Struct, frozen=True):
    """A payload on its way to the store."""

    reference: Reference
    content: bytes


def owner_of(name: str) -> str:
    """Give the id of the task that an object belongs to."""
    return name.partition("~")[0]


class Payloads:
    """Takes large payloads to the store of one namespace, and brings them back.

    Without a store nothing is taken there, and what others have taken there is out of reach.
    """

    def __init__(
        self,
        store: PayloadStore | None,
        max_payload: int,
        offload_over: int | None = None,
        compress_over: int | None = None,
    ) -> None:
        self.store = store
        self._max_payload = max_payload
        self._offload_over, self._compress_over = offload_over, compress_over

    @classmethod
    def of(cls, config: AppConfig, store: PayloadStore | None) -> Payloads:
        """Make what a configuration asks for."""
        return cls(store, config.max_payload, config.offload_over, config.compress_over)

    def is_large(self, size: int, own: int | None) -> bool:
        """Say whether a payload of `size` bytes goes to the store; `own` is what its task says of `offload_over`."""
        over = self._offload_over if own is None else own
        return over is not None and size > over

    def aside(self, content: bytes, what: str, id: str, compress_over: int | None = None) -> Aside:
        """Name a payload of the task `id`; `put` stores it. `what` is "message" or "outcome".

        Raises:
            PayloadTooLarge: it has more than `max_payload` bytes.
        """
        if len(content) > self._max_payload:
            raise PayloadTooLarge(
                f"the {what} of task {id} has {len(content):,} bytes, and max_payload allows "
                f"{self._max_payload:,}, offloaded or not; send where the data are, or raise max_payload at both ends"
            )
        from hashlib import sha256  # programs without a store start without it

        over = self._compress_over if compress_over is None else compress_over
        packed = pack(content) if over is not None and len(content) > over else None
        stored = content if packed is None else packed
        name = f"{id}~{what[0]}{os.urandom(12).hex()}"
        return Aside(Reference(name, len(stored), sha256(stored).digest(), packed is not None), stored)

    def put(self, aside: Aside) -> None:
        """Store a payload; it blocks.

        Raises:
            PayloadUnavailable: the store is out of reach.
        """
        self.reach().put(aside.reference.name, aside.content)

    def put_each(self, asides: Iterable[Aside]) -> list[PayloadError | None]:
        """As `put`, one after the other; gives what went wrong with each."""
        return [self._try(aside) for aside in asides]

    def _try(self, aside: Aside) -> PayloadError | None:
        try:
            self.put(aside)
        except PayloadError as error:
            return error
        return None

    def get(self, reference: Reference, id: str) -> bytes:
        """Bring back a payload of the task `id`; it blocks.

        Raises:
            PayloadMissing: the store has it no more.
            PayloadMismatch: it is not what was stored, belongs to another task, or is too large.
            PayloadUnavailable: the store is out of reach, or none is configured here.
        """
        from hashlib import sha256

        where = f"the payload {reference.name[:240]!r} of task {id}"
        if owner_of(reference.name) != id:
            raise PayloadMismatch(f"{where} belongs to another task: its reference was moved, or made up")
        if not 0 <= reference.size <= self._max_payload:
            raise PayloadMismatch(
                f"{where} has {reference.size:,} bytes, and max_payload allows {self._max_payload:,}: not fetched"
            )
        content = self.reach().get(reference.name, reference.size)
        if len(content) != reference.size or sha256(content).digest() != reference.sha256:
            raise PayloadMismatch(f"{where} is not what was stored there: it was altered, or cut off")
        try:
            return unpack(memoryview(content), self._max_payload) if reference.compressed else content
        except BadMessage as error:
            raise PayloadMismatch(f"{where} is not to be used: {error}") from error

    def remove(self, names: Sequence[str]) -> None:
        """Remove objects; it blocks.

        Raises:
            PayloadUnavailable: the store is out of reach.
        """
        self.reach().remove(names)

    def reach(self) -> PayloadStore:
        """Give the store. Raises `PayloadUnavailable` if none is named here."""
        if self.store is None:
            raise PayloadUnavailable(
                "it lies in a store, and none is named here: give TASKQ_OFFLOAD_TO, or offload_to= of TaskQ, the "
                "value that the sender has"
            )
        return self.store


NO_STORE = Payloads(None, LARGEST)
"""Takes nothing aside, and reaches nothing that others did."""


def store_of(config: AppConfig, namespace: str) -> PayloadStore | None:
    """Give the store that a configuration names, for the namespace that is in use; None if it names none."""
    if config.offload_to is None:
        return None
    from taskq.stores import open_store

    return open_store(config.offload_to, namespace)


def check_offload(config: AppConfig, what: str) -> None:
    """Raise `ConfigurationError` if no store is named for `what`, which would offload to it."""
    if config.offload_to is None:
        raise ConfigurationError(
            f"{what} says offload_over, and no store is named: give TASKQ_OFFLOAD_TO, or offload_to= of TaskQ, as "
            "file:///var/lib/taskq/payloads"
        )
