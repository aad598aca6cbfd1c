"""The engine's two connections: one for commands, one that only blocks on the tokens of idle processes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from taskq.broker.command import Argument, Command, Steps, run_steps, script
from taskq.broker.connect import ServerURL
from taskq.broker.connection import Connection, connect
from taskq.broker.faults import DRIVER_ERRORS, Action, Fault, Refusal, classify
from taskq.broker.keys import Keys

T = TypeVar("T")

BLOCK_S = 2.0
"""How long an idle process blocks before it looks by itself, give or take a fifth."""

_COMMAND_TIMEOUT_S = 5.0


class Link:
    """Sends batches of commands and waits for tokens. What breaks raises the driver's errors: `close`, then `open`."""

    def __init__(self, url: ServerURL, keys: Keys, queues: Sequence[str]) -> None:
        self._url = url
        self._queues = {keys.wake(queue).encode(): queue for queue in queues}
        """Queue by the key of its tokens."""
        self._commands: Connection | None = None
        self._behind: Command[Any] | None = None
        self.blocking: Connection | None = None
        self.blocked = False
        """True while a BLPOP is out."""
        self._was_open = False

    @property
    def where(self) -> str:
        """The masked URL."""
        return self._url.masked

    def open(self) -> None:
        """Connect both.

        Raises:
            BrokerRefused: the server refuses the login, and has done so from the start.
        """
        self.close()
        try:
            self._commands = connect(self._url, _COMMAND_TIMEOUT_S)
            self.blocking = connect(self._url, BLOCK_S * 1.2 + 5.0)
        except DRIVER_ERRORS as error:
            fault = classify(error, self.where)
            if fault.action is Action.RAISE and not self._was_open:
                raise fault.error from error  # nothing runs yet, and to wait does not mend it
            raise
        self._was_open = True

    def close(self) -> None:
        """Close both. A BLPOP that was out may take a token with it; the idle look for themselves soon."""
        for connection in (self._commands, self.blocking):
            if connection is not None:
                connection.close()
        self._commands = self.blocking = self._behind = None
        self.blocked = False

    def exchange(self, commands: Sequence[Command[Any]]) -> list[Any]:
        """Send commands in one write; give each one's decoded reply, or the `Fault` that it met.

        Each reply is judged alone: a script the server has forgotten is loaded, and only its command sent again.
        What a decoder raises stands in the place of its reply.
        """
        connection = self._commands
        assert connection is not None
        connection.send(*[command.words() for command in commands])
        replies = [connection.read_or_error() for _ in commands]
        return [self._judge(command, reply) for command, reply in zip(commands, replies, strict=True)]

    def _judge(self, command: Command[Any], reply: Any) -> Any:
        connection = self._commands
        assert connection is not None
        if isinstance(reply, Refusal):
            fault = classify(reply, self.where)
            if fault.action is not Action.LOAD:
                return fault
            connection.call("SCRIPT", "LOAD", script(command.name).text)
            connection.send(command.words())
            reply = connection.read_or_error()
            if isinstance(reply, Refusal):
                return classify(reply, self.where)
        return _decoded(command, reply)

    def run(self, steps: Steps[T]) -> T:
        """Send what `steps` yields one by one; give what it returns.

        Raises:
            TaskqError: a command met a fault.
        """
        return run_steps(steps, self._call)

    def _call(self, command: Command[Any]) -> Any:
        (reply,) = self.exchange([command])
        if isinstance(reply, Fault):
            raise reply.error
        return reply

    def block(self, behind: Command[Any] | None = None) -> None:
        """Ask for a token, unless that was done; the reply makes `blocking` readable.

        The server does `behind` once the wait is over, so that both replies come in one trip.
        """
        assert self.blocking is not None
        words: list[Sequence[Argument]] = []
        if not self.blocked:
            words.append(("BLPOP", *self._queues, round(BLOCK_S * random.uniform(0.8, 1.2), 2)))
            self.blocked = True
        if behind is not None:
            words.append(behind.words())
            self._behind = behind
        if words:
            self.blocking.send(*words)

    @property
    def followed(self) -> bool:
        """True while a command stands behind the BLPOP."""
        return self._behind is not None

    def token(self) -> tuple[str | None, Any]:
        """Read the replies to `block`: the queue whose token it is, '' if its time was over; and to what stood behind.

        None in place of one that was refused, or not asked for: who asks again learns why.
        """
        assert self.blocking is not None
        self.blocked = False
        token, behind = self.blocking.read_or_error(), self._behind
        reply = None
        if behind is not None:
            self._behind, reply = None, self.blocking.read_or_error()
            reply = None if isinstance(reply, Refusal) else _decoded(behind, reply)
        if isinstance(token, Refusal):
            return None, reply
        return "" if token is None else self._queues[token[0]], reply


def _decoded(command: Command[Any], reply: Any) -> Any:
    try:
        return command.decode(reply)
    except Exception as error:  # noqa: BLE001 - it stands for the reply
        return error
