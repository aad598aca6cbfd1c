"""Commands that count only once the server's disk, or its replicas, have what they wrote.

WAITAOF and WAIT speak of what their own connection wrote last, and of the server at its other end. So all of it goes
over one connection: the commands, a write, the wait. The write is there for the repeat, which may find everything
stored by an earlier connection and write nothing: its WAITAOF would answer at once, and of nothing.

With `appendfsync always` there is no wait, but a look whether that is still set. Where WAITAOF is not true
(`waitaof_is_true`), nothing else will do.
"""

from __future__ import annotations

import re
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

_SAFE = ("appendonly", "yes", "appendfsync", "always", "no-appendfsync-on-rewrite", "no")
_SETTINGS = _SAFE[::2]
_MARK_MS = 60_000


class Wait(msgspec.Struct, frozen=True):
    """A command that tells whether what was written before is safe; `missing` reads its reply, '' if it is."""

    words: Words
    missing: Callable[[Any], str]
    marked: bool = True
    """Whether it speaks of the last write of its own connection, so that there has to be one."""


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
    server is asked after each command shows whether that is still so.

    Args:
        needs: what is to hold.
        wait_ms: how long one try waits.
        run: `Broker.run`, for those that are to repeat what they sent.
        may_set: whether the server is ours, so that its settings may be changed to what is needed.
    """

    def __init__(
        self, needs: Needs, wait_ms: int, run: Callable[[Steps[Any]], Any], *, may_set: bool = False
    ) -> None:
        self.needs = needs
        self.run = run
        self._may_set = may_set
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
        waits = self._waits  # another thread may forget them meanwhile
        if not waits:
            waits = self._waits = yield from self.learn(keys)
        mark = [Wait(("SET", keys.mark, 1, "PX", _MARK_MS), lambda _: "")]
        first = commands[0]
        command: Command[list[Any]] = Durable(
            first.name,
            first.key,
            (),
            lambda replies: list(starmap(_decoded, zip(commands, replies, strict=True))),
            first.shard,
            commands=commands,
            waits=[*(mark if any(wait.marked for wait in waits) else ()), *waits],
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
        if settings is not None and not _unsafe(settings):
            return _BY_SETTINGS
        if not waitaof_is_true((yield from _info(keys))):
            if self._may_set and settings is not None:
                yield read(keys, "CONFIG", "SET", *_SAFE)
                return _BY_SETTINGS
            found = "it does not tell its settings" if settings is None else _unsafe(settings)
            raise ConfigurationError(
                "durability 'fsync' cannot be had: before Redis 8, and in Valkey, WAITAOF may answer before the disk "
                f"has what it is asked for, and {found}. Set appendonly yes, appendfsync always and "
                "no-appendfsync-on-rewrite no, and give this user +config|get; or use Redis 8"
            )
        try:
            yield read(keys, "WAITAOF", 1, 0, 1)
        except BrokerRefused as error:
            _refused("durability 'fsync' takes the command WAITAOF", "+waitaof", error)
        except BrokerUnavailable:
            raise
        except BrokerError as error:
            raise ConfigurationError(
                f"durability 'fsync' cannot be had: set appendonly yes. {error}"
            ) from error
        if settings and settings["appendfsync"] == "no":
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


def waitaof_is_true(info: str) -> bool:
    """Whether a server that says so of itself answers WAITAOF only once its disk has it.

    Redis 7.2 and 7.4, and Valkey up to 9.1, take for synced what is only written, while nothing new is to be written
    and the last fsync was begun less than a second ago, or is still under way (redis/redis#13793).
    """
    version = re.search(r"(?m)^redis_version:(\d+)\.", info)
    return version is not None and int(version[1]) >= 8 and "valkey" not in info


def _info(keys: Keys) -> Steps[str]:
    try:
        return text((yield read(keys, "INFO", "server")))
    except BrokerRefused:
        return ""


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
    for name, safe in zip(_SETTINGS, _SAFE[1::2], strict=True):
        if (found := settings.get(name, "unknown")) != safe:
            return f"{name} is {found}"
    return ""


_BY_SETTINGS = Wait(("CONFIG", "GET", *_SETTINGS), lambda reply: _unsafe(_pairs(reply)), marked=False)
"""With `appendfsync always` an answer comes after the fsync, and so does that to a repeat which finds all stored."""


def _refused(what: str, right: str, error: BrokerRefused) -> NoReturn:
    raise BrokerRefused(f"{what}, and this user may not use it: give it {right}. {error}") from error
