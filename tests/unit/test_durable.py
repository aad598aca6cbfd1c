"""What is sent with a durability, without a server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from taskq.broker.commands.reading import read
from taskq.broker.durable import Durable, Safely, Wait
from taskq.broker.keys import Keys
from taskq.durability import Needs

KEYS = Keys("tests", 0)
WAIT = Wait(("WAITAOF", 1, 0, 100), lambda _: "")


class Forgotten(list[Wait]):
    """What was learnt of a server, which another thread forgets while this one looks through it."""

    def __init__(self, safely: Safely) -> None:
        super().__init__([WAIT])
        self._safely = safely

    def __iter__(self) -> Iterator[Wait]:
        vars(self._safely)["_waits"] = []
        return super().__iter__()


def test_a_call_waits_though_another_one_forgets_what_was_learnt_meanwhile() -> None:
    safely = Safely(Needs(fsync=True), 100, lambda _: None)
    vars(safely)["_waits"] = Forgotten(safely)

    command: Any = next(safely.send(KEYS, [read(KEYS, "GET", "something")]))

    assert isinstance(command, Durable)
    assert WAIT in command.waits
    assert vars(safely)["_waits"] == []
