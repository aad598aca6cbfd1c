"""What no input may cause, whatever it raises: imports, code, files, processes, much memory, much time."""

from __future__ import annotations

import ast
import contextlib
import importlib
import resource
import sys
import time
import zoneinfo
from collections.abc import Generator, Iterator
from pathlib import Path

import taskq

MOST_SECONDS = 1.0
MOST_BYTES = 20 << 20

_FORBIDDEN = (
    "import",
    "exec",
    "compile",
    "open",
    "subprocess.",
    "os.",
    "shutil.",
    "socket.connect",
    "socket.bind",
    "socket.get",
    "socket.sendto",
    "pickle.find_class",
    "marshal.",
    "ctypes.",
    "code.__new__",
    "function.__new__",
    "webbrowser.",
    "urllib.",
    "sqlite3.",
    "tempfile.",
    "glob.",
)
_HOUSE = Path(taskq.__file__).parent
_ZONES = tuple(zoneinfo.TZPATH)


class Forbidden(AssertionError):
    """Raised when an input made the interpreter do what only code of ours may ask for."""


class Watch:
    """Hears what the interpreter does, from the first `over` on."""

    def __init__(self) -> None:
        self._heard: list[str] | None = None
        self._annotations: frozenset[object] = frozenset(_annotations())
        self._compiled = 0
        load_all_that_is_named()
        sys.addaudithook(self._hear)  # there is no way to take one back: make one watch a process

    def _hear(self, event: str, args: tuple[object, ...]) -> None:
        if self._heard is None or not event.startswith(_FORBIDDEN):
            return
        if event == "open" and _is_allowed(args[0]):
            return
        if event == "compile" and args[1] == "<unknown>":
            return  # a traceback looks where in a line of source to put its marks: a tree is made, no code
        if event == "compile" and args[0] in self._annotations:
            self._compiled += 1
            return
        if event == "exec" and self._compiled:
            self._compiled -= 1
            return
        self._heard.append(f"{event}{args[:2]!r}"[:300])

    @contextlib.contextmanager
    def over(self, *, timed: bool = True) -> Generator[None]:
        """Watch over the body.

        Raises:
            Forbidden: it imported, opened or started something, or took too much memory or, if `timed`, time.
        """
        heard = self._heard = []
        before, started = _peak(), time.process_time()
        try:
            yield
        finally:
            self._heard = None
            if heard:
                raise Forbidden(f"it caused {', '.join(heard)}")
        took, grown = time.process_time() - started, _peak() - before
        if timed and took > MOST_SECONDS:
            raise Forbidden(f"it took {took:.1f} s of the processor")
        if grown > MOST_BYTES:
            raise Forbidden(f"it took {grown:,} bytes of memory")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _is_allowed(name: object) -> bool:
    """A time zone, by its key; or a line of source, for a traceback."""
    path = str(name)
    return path.startswith(_ZONES) or "tzdata" in Path(path).parts or path.endswith(".py")


def load_all_that_is_named() -> None:
    """Import what the product's own code imports, also what it does late, so that any other import stands out."""
    ours = {name for name in _named() if name.partition(".")[0] in {"taskq", *sys.stdlib_module_names}}
    for name in sorted(ours):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _named() -> Iterator[str]:
    for node in _nodes(_HOUSE, *(link.resolve() for link in _HOUSE.iterdir() if link.is_symlink())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module != "__future__":
            yield node.module


def _annotations() -> Iterator[bytes]:
    """What `typing` evaluates, of each function anew."""
    for node in _nodes(_HOUSE, Path(__file__).parent):
        if isinstance(node, (ast.arg, ast.AnnAssign)) and node.annotation is not None:
            yield ast.unparse(node.annotation).encode()
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns is not None:
            yield ast.unparse(node.returns).encode()


def _nodes(*folders: Path) -> Iterator[ast.AST]:
    for folder in folders:
        for path in folder.rglob("*.py"):
            yield from ast.walk(ast.parse(path.read_text("utf-8")))
