"""The process that owns an embedded server: starts it, restarts it, counts its clients, stops it.

It runs by file, as `python -I keeper.py DIRECTORY`: nothing but the standard library is loaded, so that it
is small, and no file of the user's can stand in for a module. Hence it imports nothing of taskq's.

What stands in the directory, all of it closed to others:

    lock          flocked while someone starts, stops or attaches; its mtime says when someone last attached
    keeper.lock   flocked by the keeper as long as it lives; holds its pid
    server.lock   flocked by the server, which inherits it, and by each child that rewrites its AOF
    keep          if it exists, the server stays when nobody uses it
    server.json   where the server listens, with its password (0600)
    server.conf   its configuration, with its password (0600); server.log, keeper.log, appendonlydir/

The kernel drops a flock when its last holder is gone, however it went: no pid is trusted that a lock does
not vouch for, and no second server starts on an AOF that any process may still write to.

Users are the server's connected clients, our own left out. A socket is closed by the kernel too, it counts
whoever was only handed the URL, and whoever forked, and it needs no cooperation.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

CONNECTION_NAME = "taskq-keeper"  # of connections that are no users: the keeper's, and those that only ask

_UP_WITHIN = 10.0  # seconds until a started server has to answer; loading its data may take longer
_DOWN_WITHIN = 8.0  # seconds that a server has for its flush
_RESTARTS = 5  # in a row, with a growing pause: about 3 s
_SETTLED = 10.0  # a server that lived this long, in seconds, has its restarts forgiven


@dataclass(frozen=True)
class State:
    """What `server.json` says. `pid` is 0 until the server answers."""

    url: str = field(repr=False)
    kind: str
    version: str
    pid: int = 0

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    @property
    def password(self) -> str:
        return urlsplit(self.url).password or ""


@dataclass(frozen=True)
class Candidate:
    """A server that may be started; it reads `server.conf`, or port and password from stdin."""

    kind: str
    version: str
    command: list[str]


class StartFailed(Exception):
    """Raised when no candidate came up; the text says why."""


def open_private(path: Path, flags: int) -> int:
    return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _write_private(path: Path, text: str) -> None:
    # Replaced at once: who reads it sees the old text or the new.
    new = path.with_name(path.name + ".new")
    with os.fdopen(open_private(new, os.O_WRONLY | os.O_TRUNC), "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Flock a file and give its descriptor, or None if someone else holds it."""
    import fcntl  # not on Windows, where this module only has to be importable

    descriptor = open_private(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def wait_lock(path: Path, timeout: float) -> int | None:
    """Flock a file within `timeout` seconds and give its descriptor, or None."""
    deadline = time.monotonic() + timeout
    while (descriptor := try_lock(path)) is None and time.monotonic() < deadline:
        time.sleep(0.02)
    return descriptor


def read_state(directory: Path) -> State | None:
    try:
        found = json.loads((directory / "server.json").read_text("utf-8"))
        return State(url=found["url"], kind=found["kind"], version=found["version"], pid=found["pid"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


class Wire:
    """A connection with just enough RESP2 for what a keeper asks. Its every failure is an `OSError`."""

    def __init__(self, state: State, timeout: float = 1.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", state.port), timeout)
        self._replies = self._socket.makefile("rb")
        try:
            self.ask("AUTH", state.password)
            self.ask("CLIENT", "SETNAME", CONNECTION_NAME)
        except BaseException:
            self.close()
            raise

    def ask(self, *words: str) -> str:
        parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
        self._socket.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode("ascii"))
        line = self._replies.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection")
        text = line[1:-2].decode("utf-8", "replace")
        if line.startswith(b"-"):
            raise OSError(text)
        if line.startswith(b"$"):
            return self._replies.read(int(text) + 2)[:-2].decode("utf-8", "replace")
        return text

    def close(self) -> None:
        self._replies.close()
        self._socket.close()


def ask(state: State, *words: str) -> str | None:
    """Ask the server one thing; None if it does not answer, or not with the password that is its own."""
    try:
        with contextlib.closing(Wire(state)) as wire:
            return wire.ask(*words)
    except OSError as error:
        return "LOADING" if str(error).startswith("LOADING") else None


def _urls(known: State | None) -> Iterator[str]:
    # Left by a crash: those who still use that URL find the server again.
    if known is not None:
        yield known.url
    for _ in range(2):  # a port may be taken before the server comes to it
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        # A password is never used on a second port: whoever took the first may have been told it.
        yield f"redis://:{os.urandom(24).hex()}@127.0.0.1:{port}/0"


_CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir ./
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


class Keeper:
    """Owns one server on one directory until nobody uses it, it is told to stop, or the directory is gone."""

    def __init__(self, directory: Path, candidates: list[Candidate], *, linger: float, keep: bool) -> None:
        self._directory = directory
        self._candidates = candidates
        self._linger = linger
        self._keep = keep
        self._own_lock = -1
        self._attached = 0  # mtime of `lock`
        self._wire: Wire | None = None
        self._started = 0.0
        self._restarts = 0
        self._told_to_stop = False
        self._signals = self._listen()
        self._candidate: Candidate
        self._state: State
        self._process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Bring the server up, in place of one that a killed keeper left behind.

        Raises:
            StartFailed: nothing came up, or a server that does not answer holds the directory.
        """
        # Who asks whether a keeper lives holds this lock for a moment.
        own_lock = wait_lock(self._directory / "keeper.lock", 2.0)
        if own_lock is None:
            raise StartFailed("another keeper holds the directory")
        os.truncate(own_lock, 0)
        os.write(own_lock, b"%d" % os.getpid())
        self._own_lock = own_lock
        known = read_state(self._directory)
        lock = try_lock(self._directory / "server.lock")
        if lock is None:
            lock = self._take_over(known)
        elif not self._keep:  # what an earlier life wanted, before a crash of the machine
            (self._directory / "keep").unlink(missing_ok=True)
        try:
            self._start_first(known, lock)
        finally:
            os.close(lock)

    def _take_over(self, known: State | None) -> int:
        if known is not None:
            ask(known, "SHUTDOWN")
        lock = wait_lock(self._directory / "server.lock", _DOWN_WITHIN)
        if lock is None:
            raise StartFailed(f"a server that does not answer holds the directory, end it first: {known}")
        return lock

    def _start_first(self, known: State | None, lock: int) -> None:
        failures: list[str] = []
        for candidate in self._candidates:
            for url in _urls(known):
                if self._launch(candidate, State(url, candidate.kind, candidate.version), lock):
                    return
            failures.append(f"{candidate.kind} ({candidate.command[0]}): {self._last_words()}")
        raise StartFailed("; ".join(failures))

    def _launch(self, candidate: Candidate, state: State, lock: int) -> bool:
        # Written before the server runs: whoever finds it without a keeper has to be able to talk to it.
        configuration = _CONFIGURATION.format(port=state.port, password=state.password)
        _write_private(self._directory / "server.conf", configuration)
        self._publish(state)
        with os.fdopen(open_private(self._directory / "server.log", os.O_WRONLY | os.O_APPEND), "wb") as log:
            try:
                process = subprocess.Popen(
                    candidate.command,
                    cwd=self._directory,
                    stdin=subprocess.PIPE,  # stays open: one that reads it sees our end by it
                    stdout=log,
                    stderr=log,
                    pass_fds=(lock,),
                )
            except OSError as error:
                log.write(f"{error}\n".encode())
                return False
        with contextlib.suppress(BrokenPipeError):  # it has ended already, as will be seen
            os.write(process.stdin.fileno(), f"{state.port} {state.password}\n".encode())  # type: ignore[union-attr]
        if not self._is_up(process, state):
            process.kill()
            process.wait()
            return False
        self._candidate, self._process, self._started = candidate, process, time.monotonic()
        self._publish(replace(state, pid=process.pid))
        self._log(f"{candidate.kind} {candidate.version} is up on port {state.port}, pid {process.pid}")
        return True

    def _publish(self, state: State) -> None:
        self._state = state
        _write_private(self._directory / "server.json", json.dumps({**asdict(state), "keeper": os.getpid()}))

    def _is_up(self, process: subprocess.Popen[bytes], state: State) -> bool:
        deadline = time.monotonic() + _UP_WITHIN
        while process.poll() is None and time.monotonic() < deadline and not self._told_to_stop:
            answer = ask(state, "PING")
            if answer == "PONG":
                return True
            if answer == "LOADING":
                deadline = time.monotonic() + _UP_WITHIN
            self._pause(0.01)
        return False

    def _last_words(self) -> str:
        lines = (self._directory / "server.log").read_text("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it ended without a word")

    def run(self) -> None:
        """Watch the server until its time is over, then stop it with a flush."""
        with contextlib.suppress(FileNotFoundError):  # the directory has gone, or goes just now
            self._watch()
        self._stop()

    def _watch(self) -> None:
        last_used = time.monotonic()
        while not self._told_to_stop and self._directory_is_ours():
            lock = try_lock(self._directory / "server.lock")
            if lock is not None:
                self._restart(lock)
            elif self._is_used():
                last_used = time.monotonic()
            elif time.monotonic() - last_used >= self._linger and self._close_the_door():
                return
            self._pause(min(1.0, max(0.02, self._linger / 5)))

    def _directory_is_ours(self) -> bool:
        there = (self._directory / "keeper.lock").stat()
        return os.path.samestat(there, os.fstat(self._own_lock))

    def _restart(self, lock: int) -> None:
        self._log(f"the server has ended, exit status {self._process.wait()}")
        settled = time.monotonic() - self._started > _SETTLED
        self._restarts = 1 if settled else self._restarts + 1
        if self._restarts > _RESTARTS:
            self._log("the server does not stay up")
            raise SystemExit(1)
        self._pause(0.05 * 2**self._restarts)
        if not self._told_to_stop:
            self._launch(self._candidate, replace(self._state, pid=0), lock)
        os.close(lock)

    def _is_used(self) -> bool:
        before, self._attached = self._attached, (self._directory / "lock").stat().st_mtime_ns
        return self._attached != before or (self._directory / "keep").exists() or self._has_clients()

    def _has_clients(self) -> bool:
        try:
            if self._wire is None:
                self._wire = Wire(self._state)
            clients = self._wire.ask("CLIENT", "LIST").splitlines()
        except OSError:
            # Busy, loading or frozen: no reason to stop it.
            if self._wire is not None:
                self._wire.close()
            self._wire = None
            return True
        return any(f" name={CONNECTION_NAME} " not in client for client in clients)

    def _close_the_door(self) -> bool:
        gate = try_lock(self._directory / "lock")
        if gate is not None and self._is_used():
            os.close(gate)
            return False
        # Held to our end: whoever wants to attach waits, and then starts a server of his own.
        return gate is not None

    def _stop(self) -> None:
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DOWN_WITHIN)
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(FileNotFoundError):
            if self._directory_is_ours():
                (self._directory / "server.json").unlink()
        self._log("stopped")

    def _listen(self) -> int:
        def wake(*_: object) -> None: ...

        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, wake)
        signal.signal(signal.SIGCHLD, wake)  # the server's death ends a pause
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return reader

    def _pause(self, seconds: float) -> None:
        if select.select([self._signals], [], [], seconds)[0]:
            self._told_to_stop |= signal.SIGTERM in os.read(self._signals, 4096)

    def _log(self, text: str) -> None:
        os.write(2, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n".encode())


def main() -> None:
    spec = json.load(sys.stdin)
    if os.fork():  # a child of init's: nobody has to wait for us, no terminal's Ctrl-C reaches us
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    candidates = [Candidate(**candidate) for candidate in spec["candidates"]]
    keeper = Keeper(Path(sys.argv[1]), candidates, linger=spec["linger"], keep=spec["keep"])
    failure = None
    try:
        keeper.start()
    except (StartFailed, OSError) as error:
        failure = str(error)
    with contextlib.suppress(BrokenPipeError):  # the starter may have been killed meanwhile
        os.write(1, json.dumps({"failure": failure}).encode())
    os.dup2(2, 1)  # the starter reads to the end
    if failure is None:
        keeper.run()


if __name__ == "__main__":
    main()
