"""A client whose repeats are new messages, as those of redis-py's own retry around XADD are."""

from __future__ import annotations

from collections.abc import Callable

from taskq.broker.command import Argument, Command
from taskq.names import new_task_id
from tests.chaos.patching import replace

Words = Callable[[Command[object]], tuple[Argument, ...]]


def apply() -> None:
    replace(Command, "words", _renewing)


def _renewing(words: Words) -> Words:
    sent: set[Argument] = set()

    def renewed(command: Command[object]) -> tuple[Argument, ...]:
        plain = list(words(command))
        if command.name == "enqueue":
            for at in range(5, len(plain), 4):
                if plain[at] in sent:
                    plain[at] = new_task_id()
                sent.add(plain[at])
        return tuple(plain)

    return renewed
