"""A command: a plain value that either executor can send."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")
Argument = str | bytes | int | float
SCRIPTS = os.path.join(os.path.dirname(__file__), "scripts")  # noqa: PTH118, PTH120 - pathlib can wait
_INCLUDE = re.compile(r"^ *--@include (\w+)$", re.MULTILINE)
"""Stands where the functions of that file are to be made: in a branch, only for who takes it."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script as the server gets it: the prelude, what it includes, itself. `sha` is its SHA-1."""

    name: str
    text: str
    sha: str


@cache
def script(name: str) -> Script:
    """Load `scripts/<name>.lua`."""
    from hashlib import sha1  # not before the first command: `import taskq` is to be quick
    from pathlib import Path

    folder = Path(SCRIPTS)

    def read(name: str) -> str:
        text = (folder / f"{name}.lua").read_text("utf-8")
        return _INCLUDE.sub(lambda found: read(found[1]), text)

    text = read(name) if name == "init" else read("prelude") + read(name)
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


class Command(msgspec.Struct, Generic[T], frozen=True):
    """One call of the server and how its reply is read.

    `name` is a script's, and `key` the shard's `meta`; with `key` empty it is a plain Redis command, only ever
    one that reads. A script's command is idempotent: sending it again after a lost reply is safe.
    """

    name: str
    key: str
    args: Sequence[Argument]
    decode: Callable[[Any], T]
    shard: int = 0

    def __repr__(self) -> str:
        return f"<Command {self.name} of shard {self.shard}>"  # without its arguments: there are messages among them

    def words(self) -> tuple[Argument, ...]:
        """The words of the Redis command, EVALSHA for a script."""
        if not self.key:
            return (self.name, *self.args)
        return ("EVALSHA", script(self.name).sha, 1, self.key, *self.args)


class Work(Command[T], frozen=True):
    """What `Steps` do besides, and what may block: on a loop it is done in another thread."""

    do: Callable[[], Any] = lambda: None


def work(do: Callable[[], T]) -> Work[T]:
    """Make a step of something that is no command; its errors are raised where it was yielded."""
    return Work("", "", (), same, do=do)


class Delay(Work[None], frozen=True):
    """A pause between steps, which holds up no loop."""

    seconds: float = 0.0


def delay(seconds: float) -> Delay:
    """Make a step that takes so long and does nothing."""
    return Delay("", "", (), same, do=partial(time.sleep, seconds), seconds=seconds)


Steps = Generator[Command[Any], Any, T]
"""What takes several commands: it yields each and is sent the decoded reply."""


def run_steps(steps: Steps[T], call: Callable[[Command[Any]], Any]) -> T:
    """Send what `steps` yields by `call`, each reply or error going back in; give what it returns."""
    reply: Any = None
    send: Callable[[Any], Command[Any]] = steps.send
    try:
        while True:
            command = send(reply)
            try:
                reply, send = command.do() if isinstance(command, Work) else call(command), steps.send
            except Exception as error:  # noqa: BLE001 - it is raised where the command was yielded
                reply, send = error, steps.throw
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def text(reply: Any) -> str:
    """Read a bulk string."""
    return str(reply, "utf-8", "replace") if isinstance(reply, bytes) else str(reply)


def whole(reply: Any) -> int:
    """Read an integer."""
    return int(reply)


def same(reply: Any) -> Any:
    """Read a reply as it is: bytes, integers, None and lists of them."""
    return reply
