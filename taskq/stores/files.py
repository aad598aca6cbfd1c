"""A folder as a store: one file an object, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from taskq.errors import PayloadMissing, PayloadUnavailable
from taskq.stores import check_name

_UNFINISHED = "+"  # begins the name of a file that is being written; no object's name has it
_TURN = "+swept"


class FileStore:
    """Objects as files of `folder`/`namespace`, which only this user can read; all machines mount the same folder.

    Args:
        folder: absolute; made at the first write if its parent is there.
        namespace: a folder within, so that several namespaces may share one.
        durable: have the disk confirm each write. Without, a machine that loses power may lose the last seconds.
    """

    def __init__(self, folder: str, namespace: str, *, durable: bool = True) -> None:
        self._root = Path(folder)
        # The ending keeps a namespace called `..` within.
        self._folder = self._root / f"{namespace}.payloads"
        self._durable = durable

    def __repr__(self) -> str:
        return f"FileStore({str(self._folder)!r})"

    def put(self, name: str, content: bytes) -> None:
        """As `PayloadStore.put`: written beside, confirmed by the disk, then renamed."""
        path = self._path(name)
        with self._translated("written to"):
            self._make()
            unfinished = self._folder / f"{_UNFINISHED}{secrets.token_hex(12)}"
            try:
                self._write(unfinished, content)
                unfinished.rename(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    unfinished.unlink()
                raise
            if self._durable:
                _confirm(self._folder)

    def _write(self, path: Path, content: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(fd, left) :]
            if self._durable:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _make(self) -> None:
        for folder in (self._root, self._folder):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                if self._durable:
                    _confirm(folder.parent)

    def get(self, name: str, limit: int) -> bytes:
        """As `PayloadStore.get`."""
        path = self._path(name)
        with self._translated("read"):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                if self._folder.is_dir():
                    raise PayloadMissing(f"{self._folder} has no {name!r}") from None
                raise  # the disk is not mounted here: that says nothing of the object
            with os.fdopen(fd, "rb") as file:
                return file.read(limit + 1)

    def remove(self, names: Iterable[str]) -> None:
        """As `PayloadStore.remove`."""
        with self._translated("written to"):
            for name in names:
                self._path(name).unlink(missing_ok=True)

    def old(self, age_s: float) -> Iterator[tuple[str, int]]:
        """As `PayloadStore.old`. What writers that died have left unfinished is removed on the way."""
        with self._translated("read"):
            if not self._folder.is_dir():
                return
            before = time.time() - age_s
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                        found = entry.stat(follow_symlinks=False)
                        if found.st_mtime > before or entry.name == _TURN:
                            continue
                        if entry.name.startswith(_UNFINISHED):
                            os.unlink(entry.path)  # noqa: PTH108 - scandir gives no Path
                        elif check_name(entry.name):
                            yield entry.name, found.st_size

    def take_turn(self, every_s: float) -> bool:
        """As `PayloadStore.take_turn`: a file's time tells when the last one was."""
        turn = self._folder / _TURN
        with self._translated("read"):
            if not self._folder.is_dir():
                return False
            with contextlib.suppress(FileNotFoundError):
                if time.time() - turn.stat().st_mtime < every_s:
                    return False
            turn.touch(mode=0o600)
            return True

    def _path(self, name: str) -> Path:
        if not check_name(name):  # whoever can write to Redis chooses it
            raise PayloadMissing(f"{name[:80]!r} names no object")
        return self._folder / name

    @contextlib.contextmanager
    def _translated(self, done: str) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise PayloadUnavailable(f"{self._folder} cannot be {done}: {error}") from error


def _confirm(folder: Path) -> None:
    """Have the disk confirm the names in a folder."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
