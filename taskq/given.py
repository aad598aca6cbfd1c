"""What one call is given by `using()`: checked, and in the wire's units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec

from taskq.broker.commands import producing
from taskq.clock import Duration, instant_ms, to_ms
from taskq.durability import Durability, check_durability
from taskq.errors import TaskqError
from taskq.names import check_id, check_name, unique_key

T = TypeVar("T")

Codec = Literal["msgpack", "cloudpickle"]
"""How arguments and results travel: as data; or as code, which takes signing keys."""


class Given(msgspec.Struct, frozen=True, omit_defaults=True):
    """The options of one call; None is what was not given."""

    id: str | None = None
    queue: str | None = None
    priority: int | None = None
    front: bool = False
    delay_ms: int | None = None
    eta_ms: int | None = None
    expires_in_ms: int | None = None
    expires_ms: int | None = None
    key: str | None = None
    keep_ms: int | None = None
    max_retries: int | None = None
    timeout_ms: int | None = None
    """0: no limit."""
    result_ttl_ms: int | None = None
    headers: dict[str, str] | None = None
    tags: list[str] | None = None
    compress_over: int | None = None
    offload_over: int | None = None
    codec: Codec | None = None
    durability: Durability | None = None
    block_ms: int | None = None

    def due_ms(self, now_ms: int) -> int:
        """Give the instant before which the call must not start; 0 for none."""
        return self.eta_ms or (now_ms + self.delay_ms if self.delay_ms else 0)

    def wire(self, task: str) -> str:
        """Give what `enqueue.lua` is told beside the message."""
        return producing.options(
            delay_ms=self.delay_ms,
            eta_ms=self.eta_ms,
            expires_in_ms=self.expires_in_ms,
            expires_ms=self.expires_ms,
            front=self.front,
            own_id=self.id is not None,
            key="" if self.key is None else unique_key(task, self.key),
            keep_ms=self.keep_ms,
        )


NOTHING = Given()


def check_priority(value: int) -> int:
    """Return `value` if it is a priority.

    Raises:
        ValueError: it is not 0 to 9.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 9:
        raise ValueError("priorities are 0 to 9, 9 is served first")
    return value


def check_count(value: int) -> int:
    """Return `value` if it counts something.

    Raises:
        ValueError: it is no whole number from 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise ValueError("it must be a whole number from 0 to 2,147,483,647")
    return value


def check_codec(value: Codec) -> Codec:
    """Return `value` if it names a codec.

    Raises:
        ValueError: it names none.
    """
    if value not in ("msgpack", "cloudpickle"):
        raise ValueError("it is 'msgpack' or 'cloudpickle'")
    return value


def read_option(name: str, value: Any, read: Callable[[Any], T]) -> T:
    """Read what the option `name` was given.

    Raises:
        ValueError: `read` refuses it; the message names the option.
    """
    try:
        return read(value)
    except TaskqError:  # it says all that this would
        raise
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={value!r}: {error}") from error


def read_optional(name: str, value: Any, read: Callable[[Any], T]) -> T | None:
    """As `read_option`; None stays None."""
    return None if value is None else read_option(name, value, read)


def _instant_ms(value: datetime) -> int:
    if not isinstance(value, datetime):
        raise TypeError("give a datetime")
    return instant_ms(value)


def positive_ms(value: Duration) -> int:
    """Give a duration in milliseconds.

    Raises:
        ValueError: it is no duration, or none at all.
    """
    if not (ms := to_ms(value)):
        raise ValueError("it must be above 0")
    return ms


def _limit_ms(value: Duration | None) -> int:
    return 0 if value is None else positive_ms(value)


def _headers(value: Mapping[str, str]) -> dict[str, str]:
    headers = dict(value)
    if not all(isinstance(text, str) for pair in headers.items() for text in pair):
        raise TypeError("names and values are text")
    _encodable(*headers, *headers.values())
    return headers


def _tags(value: Sequence[str]) -> list[str]:
    if isinstance(value, str) or not all(isinstance(tag, str) for tag in value):
        raise TypeError("give a list of texts")
    _encodable(*value)
    return list(value)


def _encodable(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{text!r} has half of a character (a lone surrogate), which cannot travel"
            ) from None


_READERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "id": ("id", check_id),
    "queue": ("queue", partial(check_name, "the queue")),
    "priority": ("priority", check_priority),
    "front": ("front", bool),
    "delay": ("delay_ms", to_ms),
    "eta": ("eta_ms", _instant_ms),
    "key": ("key", str),
    "key_ttl": ("keep_ms", positive_ms),
    "max_retries": ("max_retries", check_count),
    "timeout": ("timeout_ms", _limit_ms),
    "result_ttl": ("result_ttl_ms", to_ms),
    "headers": ("headers", _headers),
    "tags": ("tags", _tags),
    "codec": ("codec", check_codec),
    "durability": ("durability", check_durability),
    "block_when_full": ("block_ms", to_ms),
}


def give(before: Given, **options: Any) -> Given:
    """Add what `using()` is given now to what it was given `before`; None is not given, but for a `timeout`.

    Raises:
        ValueError: a value cannot be meant, or two contradict each other.
    """
    news: dict[str, Any] = {}
    for name, value in options.items():
        if value is msgspec.UNSET or (value is None and name != "timeout"):
            continue
        if name == "expires":
            instant = isinstance(value, datetime)
            news["expires_ms"] = read_option(name, value, instant_ms) if instant else None
            news["expires_in_ms"] = None if instant else read_option(name, value, to_ms)
        else:
            field, read = _READERS[name]
            news[field] = read_option(name, value, read)
    given = msgspec.structs.replace(before, **news)
    if given.delay_ms is not None and given.eta_ms is not None:
        raise ValueError("delay= and eta= both say when; give one")
    if given.front and (given.delay_ms is not None or given.eta_ms is not None):
        raise ValueError("front=True is for now: a task that is due later joins the back of its queue")
    if given.keep_ms is not None and given.key is None:
        raise ValueError("key_ttl= says how long key= is kept; give the key")
    return given
