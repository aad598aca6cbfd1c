"""From messages to confirmed enqueues: in batches, by shard, each id once whatever replies are lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from taskq.broker.command import Steps
from taskq.broker.commands.producing import BATCH, Envelope, Stored, enqueue
from taskq.broker.keys import Keys
from taskq.broker.namespace import Namespace
from taskq.durability import Needs
from taskq.errors import (
    BrokerError,
    BrokerUnavailable,
    ConfigurationError,
    DurabilityUnknown,
    EnqueueUnknown,
    TaskqError,
)
from taskq.frame import LARGEST

if TYPE_CHECKING:
    from taskq.broker.durable import Safely

VALIDITY_MS = 60_000
"""How long after its making a message may first be stored. Over the 30 s that clients repeat, under the 120 s
that an ended task's id is remembered at least: so a late repeat finds the id, or is refused."""

_ONE_TRY_S = 4.0
"""Below the socket timeout: an answer that came within it answers what was sent just now, not an old repeat."""

_OPTIONS_WEIGH = 4
"""What is delayed, expires or has a key counts as so many plain messages: it takes the server about as long."""


def store(
    namespace: Namespace,
    envelopes: Sequence[Envelope],
    not_after_ms: int | None = None,
    safely: Safely | None = None,
) -> Steps[list[Stored]]:
    """Store messages; gives what was done with each, in their order.

    `not_after_ms` (Redis time) is given where the very same messages were sent before; without it they are new,
    and if one is refused at once as too late, our idea of Redis's clock was old: it is sent once more.
    With `safely`, the batches of a shard are waited for together.

    Raises:
        BrokerUnavailable: there was no answer to some of it.
        BrokerError, ConfigurationError: the server refuses; nothing was stored. Once it has stored some, the error
            stands in the answers of the rest.
    """
    if len(envelopes) == 1:
        return (
            yield from _send(namespace, namespace.keys_of(envelopes[0].id), [envelopes], not_after_ms, safely)
        )
    groups: deque[tuple[Keys, list[Sequence[int]]]] = deque()
    for keys, places in _by_shard(namespace, envelopes).items():
        batches = [*_batches(envelopes, places)]
        groups.extend(
            (keys, group) for group in ([[one] for one in batches] if safely is None else [batches])
        )
    done: dict[int, Stored] = {}
    refusal: tuple[type[TaskqError], str] | None = None
    while groups:
        keys, group = groups.popleft()
        sent = [[envelopes[place] for place in batch] for batch in group]
        try:
            answers = yield from _send(namespace, keys, sent, not_after_ms, safely)
        except BrokerUnavailable:
            raise
        except (BrokerError, ConfigurationError) as error:
            if len(group) > 1:  # some of these may be stored: each by itself tells
                groups.extendleft((keys, [batch]) for batch in reversed(group))
                continue
            if not done:
                raise
            refusal = type(error), str(error)
            break
        done.update(zip(chain.from_iterable(group), answers, strict=True))
    return [
        done.get(place) or Stored(envelope.id, False, refusal=refusal)
        for place, envelope in enumerate(envelopes)
    ]


def _send(
    namespace: Namespace,
    keys: Keys,
    batches: Sequence[Sequence[Envelope]],
    not_after_ms: int | None,
    safely: Safely | None,
) -> Steps[list[Stored]]:
    if not namespace.knows(keys.shard):
        yield from namespace.meet(keys.shard)
    asked = time.monotonic()
    limit = namespace.at_ms(asked) + VALIDITY_MS if not_after_ms is None else not_after_ms
    now_ms, answers = yield from _ask(keys, batches, limit, safely)
    refused = not_after_ms is None and now_ms > limit and any(answer.too_late for answer in answers)
    if safely is None or refused:  # after a wait the time is old, but better than one that had it refused
        namespace.hear(now_ms)
    if refused and time.monotonic() - asked < _ONE_TRY_S:
        _, answers = yield from _ask(keys, batches, now_ms + VALIDITY_MS, safely)
    return answers


def _ask(
    keys: Keys, batches: Sequence[Sequence[Envelope]], limit: int, safely: Safely | None
) -> Steps[tuple[int, list[Stored]]]:
    if safely is None:
        (batch,) = batches
        return (yield enqueue(keys, batch, limit))  # type: ignore[no-any-return]
    replies = yield from safely.send(keys, [enqueue(keys, batch, limit) for batch in batches])
    return replies[-1][0], [answer for _, answers in replies for answer in answers]


def _by_shard(namespace: Namespace, envelopes: Sequence[Envelope]) -> dict[Keys, Sequence[int]]:
    if namespace.shards == 1:
        return {namespace.keys[0]: range(len(envelopes))}
    places: dict[Keys, list[int]] = {}
    for place, envelope in enumerate(envelopes):
        places.setdefault(namespace.keys_of(envelope.id), []).append(place)
    return dict(places)


def _batches(envelopes: Sequence[Envelope], places: Sequence[int]) -> Iterator[Sequence[int]]:
    some: list[int] = []
    size = work = 0
    for place in places:
        envelope = envelopes[place]
        length, weight = len(envelope.message), _OPTIONS_WEIGH if envelope.options else 1
        if some and (work + weight > BATCH or size + length > LARGEST):
            yield some
            some, size, work = [], 0, 0
        some.append(place)
        size += length
        work += weight
    if some:
        yield some


def unknown_enqueue(
    what: str, id: str, needs: Needs | None, cause: BaseException | None, retry: Callable[[], Any]
) -> EnqueueUnknown:
    """Make the error of an enqueue that has no answer, or whose message is not known to be as safe as needed."""
    again = "error.retry() sends the same again, safely"
    if needs is None:
        return EnqueueUnknown(f"{what} may or may not be stored: {cause}. {again}", id=id, retry=retry)
    return DurabilityUnknown(
        f"{what} is not known to be as safe as durability {needs} asks: {cause}. {again}, and waits again",
        id=id,
        retry=retry,
    )
