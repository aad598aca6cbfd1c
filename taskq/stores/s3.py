"""A bucket of Amazon S3, or of a service that speaks its protocol, as a store. Needs the extra `s3`: boto3.

Credentials and region come from where boto3 looks for them: variables, profile, the role of the machine.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Generator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from taskq.errors import ConfigurationError, PayloadMissing, PayloadUnavailable
from taskq.stores import check_name

_TURN = "+swept"
_AT_ONCE = 1_000
"""How many objects one request may remove: DeleteObjects of the S3 API reference."""

_GONE = frozenset({"NoSuchKey", "404"})


class S3Store:
    """Objects of `bucket` under `prefix`/`namespace`.

    Args:
        bucket: it has to be there.
        prefix: what the names begin with, without a `/` at its ends; "" for nothing.
        namespace: a level below, so that several namespaces may share a prefix.
        endpoint: the URL of another service than Amazon's; None for that.
        region: in place of the one that boto3 finds.

    Raises:
        ConfigurationError: boto3 is not installed.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        namespace: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
    ) -> None:
        try:
            self._boto3: Any = importlib.import_module("boto3")  # it has no types
            self._errors: Any = importlib.import_module("botocore.exceptions")
        except ImportError as error:
            raise ConfigurationError('s3:// needs boto3: install taskq\'s extra "s3"') from error
        self._bucket = bucket
        self._folder = f"{prefix}/{namespace}.payloads/".lstrip("/")
        self._endpoint, self._region = endpoint, region
        self._lock = threading.Lock()
        self._made: tuple[int, Any] | None = None

    def __repr__(self) -> str:
        return f"S3Store({self._bucket!r}, {self._folder!r})"

    def put(self, name: str, content: bytes) -> None:
        """As `PayloadStore.put`."""
        key = self._key(name)
        with self._translated("written to"):
            self._client().put_object(Bucket=self._bucket, Key=key, Body=content)

    def get(self, name: str, limit: int) -> bytes:
        """As `PayloadStore.get`."""
        key = self._key(name)
        with self._translated("read", name):
            body: Any = self._client().get_object(Bucket=self._bucket, Key=key)["Body"]
            with contextlib.closing(body):
                # One that is longer is not read on: botocore holds the length against what was sent only at its end.
                content: bytes = body.read(limit + 1)
                return content

    def remove(self, names: Iterable[str]) -> None:
        """As `PayloadStore.remove`."""
        keys = map(self._key, names)
        with self._translated("written to"):
            while some := list(islice(keys, _AT_ONCE)):
                wanted = {"Objects": [{"Key": key} for key in some], "Quiet": True}
                answer = self._client().delete_objects(Bucket=self._bucket, Delete=wanted)
                if errors := answer.get("Errors"):
                    raise PayloadUnavailable(
                        f"{self._where} has {len(errors)} objects that are not removed: {errors[0].get('Message')}"
                    )

    def old(self, age_s: float) -> Iterator[tuple[str, int]]:
        """As `PayloadStore.old`."""
        before = datetime.now(UTC) - timedelta(seconds=age_s)
        with self._translated("read"):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._folder):
                for found in page.get("Contents", ()):
                    name = found["Key"].removeprefix(self._folder)
                    if found["LastModified"] <= before and check_name(name):
                        yield name, found["Size"]

    def take_turn(self, every_s: float) -> bool:
        """As `PayloadStore.take_turn`: an object's time tells when the last one was."""
        key = self._folder + _TURN
        with self._translated("read"):
            with contextlib.suppress(PayloadMissing), self._translated("read", _TURN):
                found = self._client().head_object(Bucket=self._bucket, Key=key)
                if (datetime.now(UTC) - found["LastModified"]).total_seconds() < every_s:
                    return False
            self._client().put_object(Bucket=self._bucket, Key=key, Body=b"")
            return True

    def close(self) -> None:
        """Close the connections; they are opened again when they are needed."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made[1].close()

    @property
    def _where(self) -> str:
        return f"s3://{self._bucket}/{self._folder}"

    def _key(self, name: str) -> str:
        if not check_name(name):  # whoever can write to Redis chooses it
            raise PayloadMissing(f"{name[:80]!r} names no object")
        return self._folder + name

    def _client(self) -> Any:
        with self._lock:  # a client may be used by all threads, and made by one at a time
            if self._made is None or self._made[0] != os.getpid():  # a fork must not share connections
                config = importlib.import_module("botocore.config").Config(
                    connect_timeout=5,
                    read_timeout=30,
                    retries={"mode": "standard", "total_max_attempts": 3},
                    max_pool_connections=50,
                    # The SHA-256 of the reference says more, and not all services know these.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                )
                client = self._boto3.session.Session().client(
                    "s3", endpoint_url=self._endpoint, region_name=self._region, config=config
                )
                self._made = (os.getpid(), client)
            return self._made[1]

    @contextlib.contextmanager
    def _translated(self, done: str, name: str = "") -> Generator[None]:
        try:
            yield
        except self._errors.ClientError as error:
            if name and error.response["Error"]["Code"] in _GONE:
                raise PayloadMissing(f"{self._where} has no {name!r}") from error
            raise PayloadUnavailable(f"{self._where} cannot be {done}: {error}") from error
        except (self._errors.BotoCoreError, self._errors.HTTPClientError, OSError) as error:
            raise PayloadUnavailable(f"{self._where} cannot be {done}: {error}") from error
