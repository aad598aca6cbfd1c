"""A worker that writes down what its interpreter imports, opens, runs and starts: for tests of hostile bytes."""

from __future__ import annotations

import os
import sys
from typing import Any

from taskq import TaskQ
from tests.apps.ledger import noted

FOLDER = os.environ["TASKQ_TESTS_AUDIT"]
"""Where the notes go, and where the module stands that nobody must import."""

_EVENTS = (
    "import",
    "exec",
    "compile",
    "open",
    "subprocess.",
    "os.",
    "pickle.",
    "marshal.",
    "ctypes.",
    "socket.getaddr",
)
_notes = os.open(f"{FOLDER}/notes", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _note(event: str, args: tuple[object, ...]) -> None:
    if event.startswith(_EVENTS):
        os.write(_notes, f"{event} {args[:2]!r}\n".encode(errors="replace"))


sys.path.insert(0, FOLDER)
sys.addaudithook(_note)

app = TaskQ("tests", include=["tests.apps.lazy"])


@app.task
def take(*args: Any, **kwargs: Any) -> str:
    with noted():
        return repr((args, kwargs))
