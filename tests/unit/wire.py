"""A broker whose server is a function: what an app sends is kept, and answered without Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from taskq import TaskQ
from taskq.broker.client import Broker
from taskq.broker.command import Command
from taskq.message import Message, decode_message

T = TypeVar("T")
NOW_MS = 1_764_000_000_000


@dataclass(frozen=True)
class Sent:
    """One message as it was sent."""

    id: str
    list: str
    options: str
    message: Message


class Wire(Broker):
    """Stores whatever is enqueued. `replies` answers other commands by name, or these in another way."""

    def __init__(self) -> None:
        super().__init__("redis://nowhere.invalid")
        self.sent: list[Sent] = []
        self.commands: list[Command[Any]] = []
        self.replies: dict[str, Callable[[Command[Any]], Any]] = {}

    def call(self, command: Command[T], patience: float | None = None) -> T:
        self.commands.append(command)
        if reply := self.replies.get(command.name):
            return command.decode(reply(command))
        return command.decode(getattr(self, "_" + command.name.lower())(command))

    async def acall(self, command: Command[T]) -> T:
        return self.call(command)

    def _init(self, command: Command[Any]) -> Any:
        return [b"1", 1]

    def _time(self, command: Command[Any]) -> Any:
        return [str(NOW_MS // 1_000).encode(), b"0"]

    def _enqueue(self, command: Command[Any]) -> Any:
        words = [str(word) if not isinstance(word, bytes) else word for word in command.args[1:]]
        for at in range(0, len(words), 4):
            id, list, options, message = words[at : at + 4]
            assert isinstance(message, bytes)
            self.sent.append(Sent(str(id), str(list), str(options), decode_message(message)))
        return [NOW_MS, *[1] * (len(words) // 4)]

    def _hget(self, command: Command[Any]) -> Any:
        return None


class WiredApp(TaskQ):
    """An app whose broker is a `Wire`."""

    def __init__(self, name: str = "shop", **options: Any) -> None:
        super().__init__(name, **options)
        self.wire = Wire()

    @property
    def broker(self) -> Broker:
        return self.wire


def says(value: Any) -> Callable[[Command[Any]], Any]:
    """Give a reply that is always the same."""

    def reply(command: Command[Any]) -> Any:
        return value

    return reply


def raises(error: Exception) -> Callable[[Command[Any]], Any]:
    """Give a reply that is an error."""

    def reply(command: Command[Any]) -> Any:
        raise error

    return reply


def answers(values: Mapping[str, Any]) -> Callable[[Command[Any]], Any]:
    """Give a reply that depends on the last argument."""
    return lambda command: values.get(str(command.args[-1]))
