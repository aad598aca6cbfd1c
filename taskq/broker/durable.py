"""Commands that count only once the server's disk, or its replicas, have what they wrote.

WAITAOF and WAIT speak of what their own connection wrote last, and of the server at its other end. So all of it goes
over one connection: the commands, a write, the wait. The write is there for the repeat, which may find everything
stored by an earlier connection and write nothing: its WAITAOF would answer at once, and of nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import starmap
from typing import Any, NoReturn

import msgspec

from taskq.broker.command import Argument, Command, Steps, text
from taskq.broker.commands.reading import read
from taskq.broker.faults import Action, Unconfirmable, Unconfirmed, classify
from taskq.broker.keys import Keys
from taskq.durability import Needs
from taskq.errors import BrokerError, BrokerRefused, BrokerUnavailable, ConfigurationError

Words = tuple[Argument, ...]

_SETTINGS = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite")
_MARK_MS = 60_000


class Wait(msgspec.Struct, frozen=True):
    """A command that tells whether what was written before is safe; `missing` reads its reply, '' if it is."""

    words: Words
    missing: Callable[[Any], str]


class Exchange(msgspec.Struct, frozen=True):
    """What is said on one connection: `commands` one after the other, then all of `waits` in one write."""

    commands: Sequence[Words]
    waits: Sequence[Wait]

    def check(self, replies: Sequence[Any]) -> None:
        """Hold the replies to `waits` against what was asked; errors of the server stand among them.

        Raises:
            RedisError: what the commands wrote may not be safe; `faults.classify` reads it.
        """
        for wait, reply in zip(self.waits, replies, strict=True):
            if isinstance(reply, Exception):
                if classify(reply, "").action is Action.REPEAT:
                    raise reply
                # What is stored is stored, whatever else this says.
                raise Unconfirmable(f"{text(wait.words[0])} is refused: {reply}") from reply
            if missing := wait.missing(reply):
                raise Unconfirmed(missing)


class Durable(Command[list[Any]], frozen=True):
    """Scripts of one name and one shard, each idempotent, whose writes are waited for; gives their replies."""

    commands: Sequence[Command[Any]] = ()
    waits: Sequence[Wait] = ()

    def exchange(self) -> Exchange:
        """What is said for it, each time it is tried."""
        return Exchange([command.words() for command in self.commands], self.waits)


class Safely:
    """Sends commands so that `needs` holds once their replies are here.

    Learns at its first use how this server confirms, and refuses one that cannot before anything is sent. What the
    server is asked after each command shows whether that is still so. `wait_ms`: how long one try waits; `run` is
    `Broker.run`, for those that are to repeat what they sent.
    """

    def __init__(self, needs: Needs, wait_ms: int, run: Callable[[Steps[Any]], Any]) -> None:
        self.needs = needs
        self.run = run
        self._wait_ms = wait_ms
        self._waits: list[Wait] = []

    def send(self, keys: Keys, commands: Sequence[Command[Any]]) -> Steps[list[Any]]:
        """Send scripts of one name to one shard; gives what each answered.

        Raises:
            ConfigurationError: this server cannot confirm what is asked; nothing was sent.
            BrokerRefused: this user may not ask for it; nothing was sent.
            BrokerUnavailable: there was no answer, or no confirmation; what was sent may be stored and safe or not.
            BrokerError: the commands' own failures.
        """
        if not self._waits:
            self._waits = yield from self.learn(keys)
        mark = Wait(("SET", keys.mark, 1, "PX", _MARK_MS), lambda _: "")
        first = commands[0]
        command: Command[list[Any]] = Durable(
            first.name,
            first.key,
            (),
            lambda replies: list(starmap(_decoded, zip(commands, replies, strict=True))),
            first.shard,
            commands=commands,
            waits=(mark, *self._waits),
        )
        try:
            return (yield command)  # type: ignore[no-any-return]
        except BrokerUnavailable:
            self._waits = []  # it may be another server next time, or the same with other settings
            raise

    def learn(self, keys: Keys) -> Steps[list[Wait]]:
        """Ask the server by what it confirms; raises what `send` raises of one that cannot."""
        waits: list[Wait] = []
        if self.needs.fsync:
            waits.append((yield from self._by_fsync(keys)))
        if self.needs.replicas:
            try:
                yield read(keys, "WAIT", 0, 0)
            except BrokerRefused as error:
                _refused(f"durability {self.needs} takes the command WAIT", "+wait", error)
            waits.append(Wait(("WAIT", self.needs.replicas, self._wait_ms), self._by_replicas))
        return waits

    def _by_fsync(self, keys: Keys) -> Steps[Wait]:
        settings = yield from _settings(keys)
        try:
            yield read(keys, "WAITAOF", 1, 0, 1)
        except BrokerRefused as error:
            _refused("durability 'fsync' takes the command WAITAOF", "+waitaof", error)
        except ConfigurationError as error:  # older than 7.2: an fsync before each reply does as well
            if settings is None:
                raise ConfigurationError(
                    "durability 'fsync' cannot be had: this server has no WAITAOF, and does not tell its settings. "
                    "Use Redis or Valkey 7.2 or newer; or set appendfsync always, and give this user +config|get"
                ) from error
            if missing := _unsafe(settings):
                raise ConfigurationError(
                    f"durability 'fsync' cannot be had: this server has no WAITAOF, and {missing}. Set appendonly "
                    "yes, appendfsync always and no-appendfsync-on-rewrite no; or use Redis or Valkey 7.2 or newer"
                ) from error
            return Wait(("CONFIG", "GET", *_SETTINGS), lambda reply: _unsafe(_pairs(reply)))
        except BrokerUnavailable:
            raise
        except BrokerError as error:
            raise ConfigurationError(
                f"durability 'fsync' cannot be had: set appendonly yes. {error}"
            ) from error
        if settings and settings.get("appendfsync") == "no":
            raise ConfigurationError(
                "durability 'fsync' cannot be had: appendfsync is no. Set it to everysec or always"
            )
        return Wait(
            ("WAITAOF", 1, 0, self._wait_ms),
            lambda reply: "" if int(reply[0]) else "its disk does not have it yet",
        )

    def _by_replicas(self, reply: Any) -> str:
        wanted = self.needs.replicas
        return "" if int(reply) >= wanted else f"{int(reply)} of {wanted} replicas have it"


def _decoded(command: Command[Any], reply: Any) -> Any:
    return command.decode(reply)


def _settings(keys: Keys) -> Steps[dict[str, str] | None]:
    """What the server says of its file, None if it does not tell."""
    try:
        return _pairs((yield read(keys, "CONFIG", "GET", *_SETTINGS)))
    except BrokerUnavailable:
        raise
    except (BrokerError, ConfigurationError):
        return None


def _pairs(reply: Sequence[Any]) -> dict[str, str]:
    words = [text(word) for word in reply]
    return dict(zip(words[::2], words[1::2], strict=True))


def _unsafe(settings: dict[str, str]) -> str:
    """Say which setting lets a reply go out before its write is on the disk; '' if none does."""
    for name, safe in zip(_SETTINGS, ("yes", "always", "no"), strict=True):
        if (found := settings.get(name, "unknown")) != safe:
            return f"{name} is {found}"
    return ""


def _refused(what: str, right: str, error: BrokerRefused) -> NoReturn:
    raise BrokerRefused(f"{what}, and this user may not use it: give it {right}. {error}") from error
