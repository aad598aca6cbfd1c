"""Servers, namespaces, and the check that a test left nothing behind.

A test that asks for `server` runs once on each kind of server; marked `contract`, on fakeredis too. Servers
are shared and each test has a `namespace` of its own; a test that has to stop, kill or fill a server takes
one from `redis_server`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import strict
from tests.leaks import forget, leaks, ttls_of
from tests.servers import KINDS, NoServer, RedisServer, find_server


def pytest_configure(config: pytest.Config) -> None:
    strict.install(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server_kind" in metafunc.fixturenames:
        contract = metafunc.definition.get_closest_marker("contract")
        kinds = KINDS if contract else [kind for kind in KINDS if kind != "fake"]
        metafunc.parametrize("server_kind", kinds, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server_kind(request: pytest.FixtureRequest) -> str:
    kind = str(request.param)
    if kind != "fake":
        try:
            find_server(kind)
        except NoServer as error:
            pytest.skip(str(error))
    return kind


@pytest.fixture(scope="session")
def server(server_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that tests share. Leave its settings and its life alone."""
    shared = RedisServer(server_kind, tmp_path_factory.mktemp(server_kind), aof=False)
    shared.start()
    yield shared
    shared.stop()


@pytest.fixture
def redis_server(server_kind: str, tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Start servers for one test: `redis_server("--maxmemory", "50mb", aof=True)`. They end with it."""
    started: list[RedisServer] = []

    def start(*args: str, aof: bool = True) -> RedisServer:
        own = RedisServer(server_kind, tmp_path / f"server-{len(started)}", *args, aof=aof)
        started.append(own)
        own.start()
        return own

    yield start
    for own in started:
        own.stop()


@pytest.fixture
def namespace() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test whose namespace keeps a key that would stay for ever."""
    if not {"server", "namespace"} <= set(request.fixturenames):
        yield
        return
    # Asked for first, so that it outlives the test's own fixtures: they clean up, then we look.
    server: RedisServer = request.getfixturevalue("server")
    namespace: str = request.getfixturevalue("namespace")
    yield
    leaves_work = request.node.get_closest_marker("leaves_work") is not None
    with server.client() as client:
        left = leaks(ttls_of(client, namespace), leaves_work=leaves_work)
        forget(client, namespace)
    if left:
        pytest.fail("keys that never expire were left behind:\n" + "\n".join(left), pytrace=False)
