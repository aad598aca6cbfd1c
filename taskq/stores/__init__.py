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

_FORMS = "file:///var/lib/taskq/payloads, or s3://bucket/prefix?endpoint=https://host without credentials"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # "Bucket naming rules" of the S3 user guide


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
        ConfigurationError: it names none, or takes an extra that is not installed.
    """
    bucket, folder, options = _parse(url)
    if bucket:
        from taskq.stores.s3 import S3Store

        endpoint, region = options.get("endpoint"), options.get("region")
        return S3Store(bucket, folder.strip("/"), namespace, endpoint=endpoint, region=region)
    from taskq.stores.files import FileStore

    return FileStore(folder, namespace, durable=options.get("durable", "1") == "1")


def _parse(url: str) -> tuple[str, str, dict[str, str]]:
    """Give bucket, path and options; the bucket is "" for a folder."""
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets, which no bucket and no folder has before its path
        raise ConfigurationError(f"offload_to names no store: write {_FORMS}") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    path = unquote(parts.path)
    if parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc) and not parts.fragment:
        known = {"endpoint", "region"}
    elif parts.scheme == "file" and not parts.netloc and path.startswith("/") and not parts.fragment:
        known = {"durable"}
    else:
        raise ConfigurationError(f"offload_to names no store: write {_FORMS}")
    if options.keys() - known or options.get("durable", "1") not in ("0", "1"):
        raise ConfigurationError(
            f"offload_to={url!r}: options are durable=0 or 1 of a folder, endpoint= and region= of a bucket"
        )
    return parts.netloc if parts.scheme == "s3" else "", path, options
