"""A worker that loads each script once a process, as one that calls SCRIPT LOAD at its start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskq.broker.command import Command
from taskq.broker.faults import Action, Refusal, classify
from taskq.worker.link import Link
from tests.chaos.patching import replace


def apply() -> None:
    replace(Link, "_judge", _sparing)


def _sparing(judge: Callable[..., Any]) -> Callable[..., Any]:
    loaded: set[str] = set()

    def sparing(link: Link, command: Command[Any], reply: Any) -> Any:
        if isinstance(reply, Refusal) and (fault := classify(reply, link.where)).action is Action.LOAD:
            if command.name in loaded:
                return fault
            loaded.add(command.name)
        return judge(link, command, reply)

    return sparing
