"""A store of payloads in this process's memory, for the time of one test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from taskq.errors import PayloadMissing


class MemoryStore:
    """Objects by name. Nothing grows old in it: it ends with the test."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, name: str, content: bytes) -> None:
        """As `PayloadStore.put`."""
        self.objects[name] = content

    def get(self, name: str, limit: int) -> bytes:
        """As `PayloadStore.get`."""
        try:
            return self.objects[name][: limit + 1]
        except KeyError:
            raise PayloadMissing(f"there is no object {name!r} in this test") from None

    def remove(self, names: Iterable[str]) -> None:
        """As `PayloadStore.remove`."""
        for name in names:
            self.objects.pop(name, None)

    def old(self, age_s: float) -> Iterator[tuple[str, int]]:  # noqa: ARG002 - the store's shape
        """As `PayloadStore.old`."""
        return iter(())

    def take_turn(self, every_s: float) -> bool:  # noqa: ARG002 - as above
        """As `PayloadStore.take_turn`."""
        return False
