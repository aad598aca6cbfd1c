"""What several files of tests stand on: engine, client, command line, embedded server, a worker that is played."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from taskq import TaskQ
from taskq.broker import durable, embedded
from taskq.broker.client import Broker
from taskq.broker.embedded import EmbeddedServer
from tests.commandline import Taskq, settle_in
from tests.embedding import Ensure
from tests.engine import Lab, altered_scripts
from tests.player import Player, add
from tests.proxy import Proxy
from tests.servers import RedisServer
from tests.slow_disk import Disk


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let `Lab.jump` move the clock that scripts see."""
    skewed = "+ (tonumber(redis.call('GET', P .. 'skew') or 0))"
    change = ("prelude", "math.floor(time[2] / 1000)", f"math.floor(time[2] / 1000) {skewed}")
    with altered_scripts(monkeypatch, tmp_path, [change]):
        yield


@pytest.fixture
def lab(server: RedisServer, namespace: str, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A lab whose leftovers are ended after the test: what no user and no worker can end, the leak check finds."""
    with Lab(server.url, namespace) as lab:
        lab.broker.run(lab.broker.namespace.meet(0))
        yield lab
        if request.node.get_closest_marker("leaves_work") is None:
            lab.wind_up()


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def distant(proxy: Proxy, lab: Lab) -> Iterator[Broker]:
    """A client whose commands pass the proxy; the lab looks past it."""
    broker = Broker(proxy.url, lab.broker.namespace.name, patience=10.0)
    yield broker
    broker.close()


@pytest.fixture
def broker(server: RedisServer, namespace: str) -> Iterator[Broker]:
    broker = Broker(server.url, namespace, patience=5)
    yield broker
    broker.close()


@pytest.fixture
def here(server: RedisServer, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand in an empty folder, where commands find the test's server and namespace."""
    settle_in(monkeypatch, tmp_path, server.url, namespace)


@pytest.fixture
def taskq(capsys: pytest.CaptureFixture[str]) -> Taskq:
    return Taskq(capsys)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory for one embedded server, which ends with the test."""
    place = tmp_path / "shop"
    yield place
    embedded.stop("shop", directory=place)


@pytest.fixture
def ensure(place: Path) -> Ensure:
    def ensure(**options: Any) -> EmbeddedServer:
        return embedded.ensure("shop", directory=place, **options)

    return ensure


@pytest.fixture
def app(server: RedisServer, namespace: str) -> Iterator[TaskQ]:
    """An app with one task, `add`."""
    app = TaskQ("shop", redis_url=server.url, namespace=namespace)
    app.task(add, name="add")
    yield app
    app.close()


@pytest.fixture
def task(app: TaskQ) -> Any:
    return app.tasks["add"]


@pytest.fixture
def worker(app: TaskQ, server: RedisServer) -> Iterator[Player]:
    """Plays a worker of `app`; what is left at the end runs then."""
    player = Player(app, server)
    yield player
    player.run_all()
    player.leave()


@pytest.fixture
def disk(redis_server: Callable[..., RedisServer], server_kind: str, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that is asked by WAITAOF on Valkey, which is believed as Redis 8 is, and by its settings on Redis 7."""
    if server_kind == "valkey":
        monkeypatch.setattr(durable, "waitaof_is_true", lambda _: True)
    return Disk(redis_server("--appendfsync", Disk.usual(server_kind)))


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool
