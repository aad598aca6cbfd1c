"""What tests look at in an embedded server and its keeper."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import redis
from redis.exceptions import RedisError

from taskq.broker import keeper
from taskq.broker.embedded import EmbeddedServer
from tests.support import wait_until

Ensure = Callable[..., EmbeddedServer]


@contextlib.contextmanager
def connected(server: EmbeddedServer) -> Generator[redis.Redis]:
    with redis.Redis.from_url(server.url) as client:
        yield client


def keeper_pid(place: Path) -> int:
    return int((place / "keeper.lock").read_text())


def is_free(lock: Path) -> bool:
    descriptor = keeper.try_lock(lock)
    if descriptor is not None:
        os.close(descriptor)
    return descriptor is not None


def has_ended(place: Path) -> bool:
    return all(is_free(place / lock) for lock in ("server.lock", "keeper.lock", "lock"))


def kill_keeper(place: Path) -> None:
    os.kill(keeper_pid(place), signal.SIGKILL)
    wait_until(lambda: is_free(place / "keeper.lock"), message="the keeper's lock")


def answer(client: redis.Redis, key: str) -> Any:
    try:
        return client.get(key)
    except RedisError:
        return None
