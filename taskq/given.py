"""What one call is given by `using()`: checked, and in the wire's units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from taskq.broker.commands import producing
from taskq.clock import Duration, instant_ms, to_ms
from taskq.names import check_id, check_name, unique_key


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
    result_ttl_ms: int | None = None
    headers: dict[str, str] | None = None
    tags: list[str] | None = None

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
        raise ValueError(f"priority={value!r}: priorities are 0 to 9, 9 is served first")
    return value


def check_count(name: str, value: int) -> int:
    """Return `value` if it counts something.

    Raises:
        ValueError: it is no whole number from 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name}={value!r}: it must be a whole number from 0")
    return value


def give(
    before: Given,
    *,
    id: str | None,
    queue: str | None,
    priority: int | None,
    front: bool,
    delay: Duration | None,
    eta: datetime | None,
    expires: Duration | datetime | None,
    key: str | None,
    key_ttl: Duration | None,
    max_retries: int | None,
    timeout: Duration | None,
    result_ttl: Duration | None,
    headers: Mapping[str, str] | None,
    tags: Sequence[str] | None,
) -> Given:
    """Add what is given now to what was given `before`.

    Raises:
        ValueError: a value cannot be meant, or two contradict each other.
    """
    news: dict[str, Any] = {
        "id": None if id is None else check_id(id),
        "queue": None if queue is None else check_name("the queue", queue),
        "priority": None if priority is None else check_priority(priority),
        "front": front or None,
        "delay_ms": None if delay is None else to_ms(delay),
        "eta_ms": None if eta is None else instant_ms(eta),
        "key": key,
        "keep_ms": None if key_ttl is None else to_ms(key_ttl),
        "max_retries": None if max_retries is None else check_count("max_retries", max_retries),
        "timeout_ms": None if timeout is None else to_ms(timeout),
        "result_ttl_ms": None if result_ttl is None else to_ms(result_ttl),
        "headers": None if headers is None else _headers(headers),
        "tags": None if tags is None else _tags(tags),
    }
    if isinstance(expires, datetime):
        news["expires_ms"] = instant_ms(expires)
    elif expires is not None:
        news["expires_in_ms"] = to_ms(expires)
    given = msgspec.structs.replace(
        before, **{name: value for name, value in news.items() if value is not None}
    )
    _contradictions(given)
    return given


def _contradictions(given: Given) -> None:
    later = given.delay_ms is not None or given.eta_ms is not None
    if given.delay_ms is not None and given.eta_ms is not None:
        raise ValueError("delay= and eta= both say when; give one")
    if given.expires_in_ms is not None and given.expires_ms is not None:
        raise ValueError("expires= was given twice, as a duration and as an instant")
    if given.front and later:
        raise ValueError("front=True is for now: a task that is due later joins the back of its queue")
    if given.keep_ms is not None and given.key is None:
        raise ValueError("key_ttl= says how long key= is kept; give the key")
    if given.keep_ms == 0 or given.timeout_ms == 0:
        raise ValueError("key_ttl and timeout must be above 0")


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ValueError(  # noqa: TRY004 - as all that is wrong with options
                f"headers={{{name!r}: {value!r}}}: names and values are text"
            )
    return dict(headers)


def _tags(tags: Sequence[str]) -> list[str]:
    if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
        raise ValueError(f"tags={tags!r}: give a list of texts")
    return list(tags)
