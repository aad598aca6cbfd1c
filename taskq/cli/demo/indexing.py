"""What the demo computes: facts of Python files, and their totals. Nothing in here knows of taskq.

Files are named by bytes, as the file system does: a name need not be text.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import os
import site
import sysconfig
import threading
import warnings
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one file. `trouble` is "unreadable", "unparsable" or empty."""

    sha256: str = ""
    bytes: int = 0
    lines: int = 0
    words: int = 0
    imports: list[str] = field(default_factory=list[str])
    """The top package of each import, in no order; "." where the import is relative."""
    trouble: str = ""


@contextmanager
def undisturbed() -> Generator[None]:
    """Suit the process to indexing, with taskq as without: no collector, no warnings of the files."""
    gc.disable()  # it walks the syntax trees, which have no cycles: a third of the time
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        gc.enable()


def facts_of(path: bytes) -> Facts:
    """Index one file. Whatever it is, there are facts, and they are the same wherever this runs."""
    try:
        data = Path(os.fsdecode(path)).read_bytes()
    except OSError:
        return Facts(trouble="unreadable")
    imports: list[str] = []
    trouble = ""
    try:
        imports = list(_imports(_parse(data)))
    except Exception:  # noqa: BLE001 - SyntaxError for the most part, yet ast has others too
        trouble = "unparsable"
    digest = hashlib.sha256(data).hexdigest()
    return Facts(digest, len(data), len(data.splitlines()), len(data.split()), imports, trouble)


def _parse(data: bytes) -> ast.Module:
    try:
        return ast.parse(data)
    except (RecursionError, MemoryError):
        return _parse_from_the_bottom(data)


def _parse_from_the_bottom(data: bytes) -> ast.Module:
    # How deep a file may nest depends on how deep its reader stands. A new thread stands at the same depth in
    # every process, and higher than anybody who has failed here.
    parsed: list[ast.Module] = []

    def parse() -> None:
        with suppress(Exception):
            parsed.append(ast.parse(data))

    thread = threading.Thread(target=parse)
    thread.start()
    thread.join()
    if not parsed:
        raise ValueError("nested too deep")
    return parsed[0]


def _imports(module: ast.Module) -> Iterator[str]:
    # Imports are statements: the expressions, most of a tree, need no visit.
    pending: list[ast.AST] = [module]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." if node.level or node.module is None else node.module.partition(".")[0]
        else:
            for block in ("body", "orelse", "finalbody", "handlers", "cases"):
                inner = getattr(node, block, None)
                if isinstance(inner, list):  # the body of a lambda is an expression
                    pending += inner


class Totals:
    """The sum of facts, whatever their order."""

    def __init__(self) -> None:
        self._facts: dict[bytes, Facts] = {}

    def add(self, path: bytes, facts: Facts) -> None:
        """Count one file."""
        self._facts[path] = facts

    def rows(self) -> dict[str, int]:
        """Give the totals by name."""
        facts = self._facts.values()
        imports = Counter(name for one in facts for name in one.imports)
        return {
            "files": len(facts),
            "bytes": sum(one.bytes for one in facts),
            "lines": sum(one.lines for one in facts),
            "words": sum(one.words for one in facts),
            "imports": imports.total(),
            "packages imported": len(imports),
            "unparsable files": sum(one.trouble == "unparsable" for one in facts),
            "unreadable files": sum(one.trouble == "unreadable" for one in facts),
        }

    def digest(self) -> str:
        """Give a digest of every fact of every file, so that no sum can hide a difference."""
        digest = hashlib.sha256()
        for path, one in sorted(self._facts.items()):
            known = (one.sha256, one.bytes, one.lines, one.words, sorted(one.imports), one.trouble)
            digest.update(repr((path, *known)).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Files:
    """The demo's input. `unlisted` are folders that cannot be looked into."""

    standard_library: list[bytes]
    site_packages: list[bytes]
    unlisted: list[str]

    def __iter__(self) -> Iterator[bytes]:
        yield from self.standard_library
        yield from self.site_packages

    def __len__(self) -> int:
        return len(self.standard_library) + len(self.site_packages)


def find_files() -> Files:
    """Find every .py file of the running Python's standard library and of the environment's site-packages."""
    paths = sysconfig.get_paths()
    packages = _roots((paths["purelib"], paths["platlib"], *site.getsitepackages()))
    # Without an environment of its own, site-packages lies inside of the standard library; inside of one, the
    # library's own site-packages is another environment's.
    library = _roots((paths["stdlib"], paths["platstdlib"]))
    unlisted: list[str] = []
    return Files(
        sorted(_walk(library, {"site-packages", "dist-packages"}, unlisted)),
        sorted(_walk(packages, set(), unlisted)),
        unlisted,
    )


def _roots(paths: Iterable[str]) -> set[Path]:
    return {Path(path).resolve() for path in paths if Path(path).is_dir()}


def _walk(roots: Iterable[Path], without: set[str], unlisted: list[str]) -> set[bytes]:
    found: set[bytes] = set()
    for root in roots:
        for folder, folders, names in os.walk(root, onerror=lambda error: unlisted.append(error.filename)):
            if folder == str(root):
                folders[:] = [name for name in folders if name not in without]
            found.update(os.fsencode(Path(folder, name)) for name in names if name.endswith(".py"))
    return found
