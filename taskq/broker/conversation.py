"""What is said to the server for one command, whoever says it: the command, what heals it, the pauses between.

One generator serves the sync and the async executor: it yields the words to send, what is said on one connection, or a
pause.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from taskq.broker.command import Command, script
from taskq.broker.durable import Durable, Exchange, Words
from taskq.broker.faults import DRIVER_ERRORS, Action, classify
from taskq.broker.namespace import Namespace

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait before the next words."""

    seconds: float


Turn = Words | Exchange | Pause

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_HEALINGS = 10
_TRIES_BEFORE_WARNING = 6
"""About a second of trying."""

log = logging.getLogger("taskq.broker")


def pause_after(tries: int) -> float:
    """Seconds before a command is sent again: doubling from 20 ms to 1 s, with jitter."""
    return random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE, _FIRST_PAUSE * float(2 ** min(tries, 10)))


def conversation(
    command: Command[T], namespace: Namespace, where: str, patience: float
) -> Generator[Turn, Any, T]:
    """Give the decoded reply of `command`, repeating it on transient faults for `patience` seconds.

    Raises:
        BrokerError: what the error table makes of a failure that lasts.
    """
    if command.key and command.name != "init" and not namespace.knows(command.shard):
        yield from _meet(namespace, command.shard, where, patience)
    say = _way_to_say(command)
    give_up = 0.0
    tries = healings = 0
    while True:
        try:
            reply = yield say()
        except DRIVER_ERRORS as error:
            fault, cause = classify(error, where), error
        else:
            return command.decode(reply)
        give_up = give_up or time.monotonic() + patience
        if fault.action is Action.INIT and healings < _HEALINGS:
            healings += 1
            namespace.lost(command.shard)
            yield from _meet(namespace, command.shard, where, patience)
            continue
        if fault.action is Action.LOAD and healings < _HEALINGS:
            healings += 1
            try:
                yield ("SCRIPT", "LOAD", script(command.name).text)
                continue
            except DRIVER_ERRORS as error:
                fault, cause = classify(error, where), error
        if fault.action is not Action.REPEAT or time.monotonic() >= give_up:
            raise fault.error from cause
        tries += 1
        if tries == _TRIES_BEFORE_WARNING:
            log.warning("%s; trying again for %.0f s more", fault.error, give_up - time.monotonic())
        yield Pause(min(pause_after(tries), max(0.0, give_up - time.monotonic())))


def _way_to_say(command: Command[Any]) -> Callable[[], Words | Exchange]:
    return command.exchange if isinstance(command, Durable) else command.words


def _meet(namespace: Namespace, shard: int, where: str, patience: float) -> Generator[Turn, Any, None]:
    steps = namespace.meet(shard)
    reply = None
    while True:
        try:
            command = steps.send(reply)
        except StopIteration:
            return
        reply = yield from conversation(command, namespace, where, patience)
