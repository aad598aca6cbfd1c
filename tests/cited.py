"""Whether what texts and lists cite is there: a test by its id, a heading by its anchor."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]

CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
"""A block of code of a page."""

_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def is_test(cited: str) -> bool:
    """True of `tests/file.py::test_name`, with or without what it is parametrised by, if there is such a test."""
    file, _, name = cited.partition("::")
    name = name.partition("[")[0]
    return name.startswith("test_") and name in _functions_of(ROOT / file)


@cache
def _functions_of(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text("utf-8"))) if path.is_file() else ()
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub makes them; none if there is no such page."""
    text = CODE.sub("", page.read_text("utf-8")) if page.is_file() else ""
    headings = _HEADING.findall(text)
    return frozenset(re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings)
