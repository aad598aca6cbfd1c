"""Where a function comes from: the module a worker imports it by, its name there, its place in a file."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any


def code_of(function: Callable[..., Any]) -> Any:
    """Give what has a name and a place: the function inside partials, the class of a callable object."""
    while isinstance(function, functools.partial):
        function = function.func
    return function if hasattr(function, "__qualname__") else type(function)


def qualified_name(function: Callable[..., Any]) -> str:
    """Give `Class.method` or `function`; one inside a function is `outer.inner`."""
    return str(code_of(function).__qualname__).replace(".<locals>", "")


def module_name(function: Callable[..., Any]) -> str:
    """Give the name by which a worker imports the function's module, also while it runs as a script here."""
    module = str(getattr(code_of(function), "__module__", None) or "builtins")
    return main_module() if module == "__main__" else module


def main_module() -> str:
    """Give the importable name of what runs as `__main__`; `__main__` itself at a prompt, which has none.

    `python -m package.module` says it. A script's is its path below an entry of `sys.path` other than the
    script's own folder, which Python has put there, or below the current directory: there a worker that is
    started in the same place finds it, as `examples.shop` for `python examples/shop.py`.
    """
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    if file is None:
        return "__main__"
    from pathlib import Path

    path = Path(file).resolve().with_suffix("")
    entries = sys.path if sys.flags.safe_path else sys.path[1:]
    roots = sorted({Path(entry).resolve() for entry in entries}, key=lambda root: -len(root.parts))
    for root in (*roots, Path.cwd()):
        if path.is_relative_to(root):
            parts = path.relative_to(root).parts
            if all(part.isidentifier() for part in parts):
                return ".".join(parts)
    return path.name


def place_of(function: Callable[..., Any]) -> str:
    """Say where a function stands, as `file:line`, or as well as can be said."""
    code = getattr(code_of(function), "__code__", None)
    if code is None:
        return f"module {code_of(function).__module__}"
    return f"{code.co_filename}:{code.co_firstlineno}"
