"""Where payloads lie that are too large for the server: a folder, or a bucket of an S3-compatible service.

A store holds objects by name and knows nothing of tasks; `taskq/payloads.py` gives the names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from taskq.errors import ConfigurationError

NAME = re.compile(r"[A-Za-z0-9_.:@-]{1,200}~[a-z0-9]{1,40}")
"""What an object may be called. No separator, and it is never `.` or `..`: a name leads nowhere else."""

_FORMS = "file:///var/lib/taskq/payloads"


class PayloadStore(Protocol):
    """What holds objects. Each method may block, and is called by any thread."""

    def put(self, name: str, content: bytes) -> None:
        """Store an object; once this returns it is there whole, whatever breaks down.

        Raises:
            PayloadUnavailable: the store is out of reach, full, or refuses.
        """
        ...

    def get(self, name: str, limit: int) -> bytes:
        """Read an object, `limit` + 1 bytes of it at most.

        Raises:
            PayloadMissing: the store answers, and has no such object.
            PayloadUnavailable: it is out of reach, or refuses.
        """
        ...

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; those that are not there are no matter. Raises `PayloadUnavailable`."""
        ...

    def old(self, age_s: float) -> Iterator[tuple[str, int]]:
        """Give the name and the size in bytes of all that was stored `age_s` seconds ago or before.

        Raises `PayloadUnavailable`.
        """
        ...

    def take_turn(self, every_s: float) -> bool:
        """Say whether it is time to sweep; True is said once in `every_s`, about. Raises `PayloadUnavailable`."""
        ...


def check_name(name: str) -> bool:
    """Say whether an object may be called so."""
    return NAME.fullmatch(name) is not None


def check_store_url(url: str) -> None:
    """Raise `ConfigurationError` if `url` names no store."""
    _parse(url)


def open_store(url: str, namespace: str) -> PayloadStore:
    """Give the store that `url` names, for the objects of one namespace; it is reached at the first use.

    Raises:
        ConfigurationError: it names none.
    """
    folder, options = _parse(url)
    from taskq.stores.files import FileStore

    return FileStore(folder, namespace, durable=options.get("durable", "1") == "1")


def _parse(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    folder = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc or not folder.startswith("/") or parts.fragment:
        raise ConfigurationError(f"offload_to={url!r} names no store: write {_FORMS}")
    if options.keys() - {"durable"} or options.get("durable", "1") not in ("0", "1"):
        raise ConfigurationError(f"offload_to={url!r}: a folder has one option, durable=0 or durable=1")
    return folder, options
