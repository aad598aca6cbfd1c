"""What a process can be made to believe: libraries that are loaded before libc (LD_PRELOAD), compiled when asked for.

clock = Shim("clock", folder)
server = RedisServer("redis", folder / "server", environ=environ_of(clock))
clock.set(3600)  # from now on the server's wall clock is an hour ahead
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Literal


class NoCompiler(Exception):
    """Raised when this machine has no C compiler."""


class Shim:
    """One shim, and the file from which it reads how many seconds it is to make of it.

    Args:
        name: `clock` moves the wall clock, and leaves the monotonic one; `fsync` makes fsync and fdatasync slow.
        folder: where the library and the file go.
        seconds: to begin with.

    Raises:
        NoCompiler: there is neither cc nor gcc.
    """

    def __init__(self, name: Literal["clock", "fsync"], folder: Path, seconds: float = 0.0) -> None:
        self.library = folder / f"{name}.so"
        self._file = folder / f"{name}.ns"
        self._variable = f"TASKQ_SHIM_{name.upper()}"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NoCompiler(f"the shim {name!r} takes a C compiler: cc or gcc")
        source = Path(__file__).with_name(f"{name}.c")
        flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
        subprocess.run([compiler, *flags, "-o", self.library, source, "-ldl"], check=True)
        self._file.write_bytes(bytes(16))
        self.set(seconds)

    def set(self, seconds: float) -> None:
        """Change it, in all processes that have it."""
        file = os.open(self._file, os.O_WRONLY)
        try:
            os.pwrite(file, struct.pack("=q", round(seconds * 1e9)), 0)
        finally:
            os.close(file)

    @property
    def synced(self) -> int:
        """How many bytes of its append-only file a server with `fsync` has on the disk: a power cut leaves those."""
        return int(struct.unpack_from("=q", self._file.read_bytes(), 8)[0])

    @property
    def environ(self) -> dict[str, str]:
        """The variable that names its file."""
        return {self._variable: str(self._file)}


def environ_of(*shims: Shim) -> dict[str, str]:
    """Give the variables with which a process is started so that it has these shims."""
    found = {"LD_PRELOAD": ":".join(str(shim.library) for shim in shims)}
    for shim in shims:
        found |= shim.environ
    return found
