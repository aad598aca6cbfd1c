"""The other task queues, each in a virtual environment of its own that is made once and kept.

They share no dependencies with taskq nor with each other: arq, say, wants an older redis-py. The environments stand in
`TASKQ_PEERS_HOME`, or else in the user's cache. One whose requirements or interpreter have changed is made anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HOME = "TASKQ_PEERS_HOME"
_STAMP = "taskq-stamp"

# Exact versions: a figure, and what the documentation says of coming from one of these, holds for that version.
PEERS: dict[str, tuple[str, ...]] = {
    "celery": ("celery==5.7.0", "kombu[redis]==5.7.0", "redis==8.1.0", "hiredis==3.5.0"),
    "rq": ("rq==3.0.0", "redis==8.1.0", "hiredis==3.5.0"),
    "dramatiq": ("dramatiq==2.2.1", "redis==8.1.0", "hiredis==3.5.0"),
    "huey": ("huey==3.5.4", "redis==8.1.0", "hiredis==3.5.0"),
    "arq": ("arq==0.28.0", "redis==5.3.1", "hiredis==3.5.0", "uvloop==0.23.0"),
    "taskiq": ("taskiq==0.13.0", "taskiq-redis==1.2.4", "redis==8.1.0", "hiredis==3.5.0", "uvloop==0.23.0"),
    "saq": ("saq==0.26.4", "typing_extensions==4.15.0", "redis==7.4.1", "hiredis==3.5.0", "uvloop==0.23.0"),
    "streaq": ("streaq==7.2.0", "coredis==6.9.0", "uvloop==0.23.0"),
    "docket": ("pydocket==0.27.0", "redis==8.1.0", "hiredis==3.5.0", "uvloop==0.23.0"),
    "bullmq": ("bullmq==3.4.4", "redis==8.1.0", "hiredis==3.5.0", "uvloop==0.23.0"),
}


def environment(name: str) -> Path:
    """Give the interpreter of a peer's environment, which is made first where it is not there yet.

    Any number of processes may ask at once: one makes it, the others wait.

    Raises:
        KeyError: there is no such peer.
        RuntimeError: it cannot be installed; with what the installer said.
    """
    requirements = PEERS[name]
    folder = home() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if installed(name) is None:
            shutil.rmtree(folder, ignore_errors=True)
            _make(folder, requirements)
            (folder / _STAMP).write_text(_state(requirements))
    return folder / "bin" / "python"


def installed(name: str) -> Path | None:
    """Give the interpreter of a peer's environment, or None where it is not there, or is not this one's.

    Raises:
        KeyError: there is no such peer.
    """
    requirements = PEERS[name]
    folder = home() / name
    stamp = folder / _STAMP
    made = stamp.exists() and stamp.read_text() == _state(requirements)
    return folder / "bin" / "python" if made else None


def home() -> Path:
    """Where the environments stand."""
    if given := os.environ.get(HOME):
        return Path(given).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "taskq-peers"


def _state(requirements: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join((sys.base_prefix, sys.version, *requirements)).encode()).hexdigest()


def _make(folder: Path, requirements: tuple[str, ...]) -> None:
    python = folder / "bin" / "python"
    if uv := shutil.which("uv"):
        _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        _run(uv, "pip", "install", "--quiet", "--python", str(python), *requirements)
    else:
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", *requirements)


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr or done.stdout}")
