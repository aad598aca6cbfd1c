"""What a test can ask of the calls that were enqueued."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import msgspec

from taskq.app import TaskQ
from taskq.broker.commands.producing import Envelope
from taskq.codec import CallCodec
from taskq.message import Message, bring_back, open_message
from taskq.sending import Sender


class SentCall(msgspec.Struct, frozen=True):
    """One call that was enqueued, with the arguments as the task will get them."""

    id: str
    task: str
    """The task's name."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    queue: str
    priority: int
    options: dict[str, Any]
    """What else `using()` was given, by its names. Durations are seconds, instants datetimes in UTC."""
    text: str
    """The call as it is shown: what is secret in it is masked."""

    def __repr__(self) -> str:
        return self.text


def read_call(app: TaskQ, envelope: Envelope) -> SentCall:
    """Read a stored message."""
    message, signed = open_message(envelope.message, envelope.id, None, app.frames)
    bring_back(message, envelope.id, app.payloads)
    task = app.tasks.get(message.task)
    codec = CallCodec(None, redaction=app.config.redaction) if task is None else task.codec
    args, kwargs = codec.decode_call(message.args, message.kwargs, signed)
    queue, _, priority = envelope.list.partition(":")
    options = _options(message, envelope.options)
    where = {"queue": queue, **({} if priority == "5" else {"priority": int(priority)}), **options}
    shown = codec.redaction.shown(where)
    text = codec.shown(message.task, args, kwargs, message.secrets)
    text += "  " + " ".join(f"{name}={value!r}" for name, value in shown.items())
    return SentCall(envelope.id, message.task, args, kwargs, queue, int(priority), options, text)


def _options(message: Message, packed: str) -> dict[str, Any]:
    due, expires, keep, switches, key = packed.split("|", 4) if packed else [""] * 5
    found = {
        "front": "f" in switches,
        ("delay" if due.startswith("+") else "eta"): _when(due),
        "expires": _when(expires),
        "key": unquote(key.partition(":")[2]),
        "key_ttl": _seconds(keep),
        "max_retries": message.max_retries,
        "timeout": _seconds(message.timeout_ms),
        "result_ttl": _seconds(message.result_ttl_ms),
        "headers": message.headers,
        "tags": message.tags,
    }
    given = {name: value for name, value in found.items() if value not in (None, False, "")}
    return {**given, "timeout": None} if message.timeout_ms == 0 else given


def _when(text: str) -> float | datetime | None:
    if not text:
        return None
    return int(text) / 1_000 if text.startswith("+") else datetime.fromtimestamp(int(text) / 1_000, UTC)


def _seconds(ms: int | str | None) -> float | None:
    return None if ms in (None, "") else int(ms) / 1_000


class Wanted:
    """A call that a test looks for: of a task, and with these arguments if there are any."""

    def __init__(
        self, app: TaskQ, sender: Sender[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        task = app.tasks.get(sender.name)
        self._name, self._codec = sender.name, sender.codec
        self._signature = None if task is None else inspect.signature(task.function)
        self._any = not (args or kwargs)
        if not self._any:
            # As they arrive: a test may write a list where the task is given a tuple.
            args, kwargs = sender.codec.decode_call(*sender.codec.encode_call(args, kwargs), trusted=True)
        self._args, self._kwargs = args, kwargs
        self._said = self._bound(args, kwargs) if not self._any else None

    def __str__(self) -> str:
        return self._name if self._any else self._codec.shown(self._name, self._args, self._kwargs)

    def fits(self, call: SentCall) -> bool:
        """Say whether this is the call. By position, by name, and left to its default are the same."""
        return call.task == self._name and (self._any or self._bound(call.args, call.kwargs) == self._said)

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if self._signature is None:
            return args, dict(kwargs)
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.arguments
