from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import redis
from redis.exceptions import AuthenticationError

from taskq.broker import embedded, keeper
from taskq.broker.connect import parse_url, resolve
from taskq.errors import BrokerUnavailable
from tests.embedding import Ensure, answer, connected, has_ended, is_free, keeper_pid, kill_keeper
from tests.support import wait_until

_ROOT = Path(__file__).parents[2]


def test_a_started_server_is_durable_private_and_local(ensure: Ensure, place: Path) -> None:
    server = ensure()

    assert (server.started, server.durable, server.directory) == (True, True, place)
    with connected(server) as client:
        settings = client.config_get("bind", "appendonly", "appendfsync", "maxmemory-policy", "save")
        assert settings == {
            "bind": "127.0.0.1",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
            "save": "",
        }
    nobody = parse_url(server.url).masked.replace("***@", "")
    with redis.Redis.from_url(nobody) as stranger, pytest.raises(AuthenticationError):
        stranger.ping()


def test_nothing_in_the_directory_is_open_to_others(ensure: Ensure, place: Path) -> None:
    with connected(ensure()) as client:
        client.set("a", "b")

    found = [place, *place.rglob("*")]
    assert {path.name for path in found} >= {"server.json", "server.conf", "server.log", "appendonlydir"}
    assert [path for path in found if path.stat().st_mode & 0o077] == []


def test_the_password_is_in_no_process_list_and_no_repr(ensure: Ensure, place: Path) -> None:
    server = ensure()
    password = parse_url(server.url).password
    shown = subprocess.run(
        ["ps", "axww", "-o", "pid,args"], capture_output=True, text=True, check=True
    ).stdout

    assert password
    assert password in (place / "server.json").read_text()
    assert str(place) in shown
    assert str(server.pid) in shown
    assert password not in shown + repr(server) + (place / "keeper.log").read_text()


def test_the_server_is_no_child_of_its_starter_and_not_of_its_terminal(ensure: Ensure) -> None:
    server = ensure()

    assert os.getsid(server.pid) != os.getsid(0)
    with pytest.raises(ChildProcessError):
        os.waitpid(server.pid, os.WNOHANG)


def test_a_second_caller_attaches(ensure: Ensure) -> None:
    first, second = ensure(), ensure()

    assert (first.started, second.started) == (True, False)
    assert (second.pid, second.url) == (first.pid, first.url)


def test_starters_at_the_same_time_share_one_server(place: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from taskq.broker.embedded import ensure\n"
        "server = ensure('shop', directory=Path(sys.argv[1])); print(server.pid, server.started)"
    )
    command = [sys.executable, "-c", code, str(place)]
    starters = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) for _ in range(4)]
    told = [starter.communicate(timeout=30)[0].split() for starter in starters]

    assert len({pid for pid, _ in told}) == 1
    assert sorted(started for _, started in told) == ["False", "False", "False", "True"]


def test_the_data_outlive_a_stop_and_the_password_does_not(ensure: Ensure, place: Path) -> None:
    first = ensure()
    with connected(first) as client:
        client.set("a", "b")
    assert embedded.stop("shop", directory=place)
    assert has_ended(place)
    second = ensure()

    with connected(second) as client:
        assert client.get("a") == b"b"
    assert second.started
    assert parse_url(second.url).password != parse_url(first.url).password


def test_a_server_that_is_killed_comes_back_on_its_port_with_its_data(ensure: Ensure) -> None:
    server = ensure()
    with connected(server) as client:
        client.set("a", "b")
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: answer(client, "a") == b"b", message="the server to come back")
    again = ensure()

    assert (again.url, again.started) == (server.url, False)
    assert again.pid != server.pid


def test_a_server_that_does_not_stay_up_is_given_up(ensure: Ensure, place: Path) -> None:
    server = ensure(linger=0.1, keep=True)
    # It does not start with what it cannot read.
    manifest = next((place / "appendonlydir").glob("*.manifest"))
    manifest.write_text("nonsense\n")
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: is_free(place / "keeper.lock"), timeout=30, message="the keeper to give up")

    assert "does not stay up" in (place / "keeper.log").read_text()
    with pytest.raises(BrokerUnavailable, match="does not start"):
        ensure(allow_fake=False)


def test_a_server_that_nobody_uses_ends(ensure: Ensure, place: Path) -> None:
    ensure(linger=0.1)

    wait_until(lambda: has_ended(place), message="the server to end")
    assert embedded.running("shop", directory=place) is None


def test_a_server_that_someone_uses_stays(ensure: Ensure, place: Path) -> None:
    server = ensure(linger=0.1)
    with connected(server) as client:
        client.set("a", "b")
        time.sleep(0.6)
        assert embedded.running("shop", directory=place) == ensure()
    wait_until(lambda: has_ended(place), message="the server to end after its user")


def test_a_user_that_is_killed_counts_no_longer(ensure: Ensure, place: Path) -> None:
    server = ensure(linger=0.1, keep=True)
    port, password = parse_url(server.url).hosts[0][1], parse_url(server.url).password
    code = (
        "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "s.sendall(f'AUTH {sys.stdin.readline()}\\r\\n'.encode()); print(s.recv(9), flush=True); s.recv(9)"
    )
    user = subprocess.Popen(
        [sys.executable, "-c", code, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with user:
        assert user.stdin
        assert user.stdout
        user.stdin.write(f"{password}\n")
        user.stdin.flush()
        assert "OK" in user.stdout.readline()
        (place / "keep").unlink()
        time.sleep(0.5)
        assert embedded.running("shop", directory=place)
        user.kill()
    wait_until(lambda: has_ended(place), message="the server to end")


def test_a_server_that_is_to_be_kept_stays_until_it_is_stopped(ensure: Ensure, place: Path) -> None:
    server = ensure(linger=0.1)
    assert ensure(keep=True).pid == server.pid
    time.sleep(0.6)

    found = embedded.running("shop", directory=place)
    assert found
    assert found.pid == server.pid
    assert embedded.stop("shop", directory=place) is True
    assert embedded.stop("shop", directory=place) is False
    assert embedded.running("shop", directory=place) is None


def test_to_stop_and_start_a_kept_server_keeps_it_no_longer(ensure: Ensure, place: Path) -> None:
    ensure(keep=True)
    embedded.stop("shop", directory=place)
    ensure(linger=0.1)

    wait_until(lambda: has_ended(place), message="the server to end")


@pytest.mark.parametrize("server_too", [False, True])
def test_after_a_killed_keeper_the_next_starter_brings_the_server_back(
    ensure: Ensure, place: Path, server_too: bool
) -> None:
    server = ensure(keep=True)
    first_keeper = keeper_pid(place)
    with connected(server) as client:
        client.set("a", "b")
        kill_keeper(place)
        assert client.get("a") == b"b"  # its users notice nothing
        if server_too:
            os.kill(server.pid, signal.SIGKILL)
            wait_until(lambda: is_free(place / "server.lock"), message="the server's lock")
        again = ensure()
        assert wait_until(lambda: answer(client, "a"), message="the server") == b"b"

    assert (again.url, again.started) == (server.url, True)
    assert again.pid != server.pid
    assert keeper_pid(place) != first_keeper
    assert (place / "keep").exists() is not server_too  # an orphan goes on as it was


def test_no_server_starts_while_any_process_may_write_to_the_aof(ensure: Ensure, place: Path) -> None:
    place.mkdir(mode=0o700)
    held = keeper.try_lock(place / "server.lock")
    assert held is not None
    starter = threading.Thread(target=ensure)
    starter.start()
    wait_until(lambda: (place / "keeper.lock").exists() and not is_free(place / "keeper.lock"))
    time.sleep(0.3)
    assert not (place / "server.conf").exists()
    os.close(held)
    starter.join()

    assert embedded.running("shop", directory=place)


def test_the_server_itself_holds_the_lock_of_its_data(ensure: Ensure, place: Path) -> None:
    server = ensure()
    kill_keeper(place)

    assert not is_free(place / "server.lock")
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: is_free(place / "server.lock"), message="the lock")


def test_a_server_without_a_keeper_can_be_found_and_stopped(ensure: Ensure, place: Path) -> None:
    server = ensure()
    kill_keeper(place)

    assert embedded.running("shop", directory=place) == embedded.EmbeddedServer(
        server.url, server.kind, server.version, place, server.pid, durable=True, started=False
    )
    assert embedded.stop("shop", directory=place) is True
    assert has_ended(place)


def test_a_server_whose_directory_is_removed_ends(ensure: Ensure, place: Path) -> None:
    server = ensure()
    shutil.rmtree(place)

    wait_until(
        lambda: keeper.ask(keeper.State(server.url, "", ""), "PING") is None, message="the server to end"
    )


def test_an_embedded_url_resolves_to_the_namespaces_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    caplog.set_level("INFO", "taskq.broker")
    try:
        shop, other = resolve("embedded://", "shop"), resolve("embedded://", "other")
        named = resolve(f"embedded://{tmp_path}/taskq/shop", "shop")
        with redis.Redis.from_url(shop.url) as client:
            assert client.ping()
    finally:
        assert embedded.stop("shop")
        assert embedded.stop("other")

    assert shop == named != other
    assert shop.scheme == "redis"
    assert "***@127.0.0.1" in shop.masked
    started = [line for line in caplog.messages if line.startswith("started an embedded server")]
    assert len(started) == 2  # and `named` was there already
    assert str(tmp_path / "taskq" / "shop") in started[0]
