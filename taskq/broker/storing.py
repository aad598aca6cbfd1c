"""From messages to confirmed enqueues: in batches, by shard, each id once whatever replies are lost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from taskq.broker.command import Steps
from taskq.broker.commands.producing import BATCH, Envelope, Stored, enqueue
from taskq.broker.keys import Keys
from taskq.broker.namespace import Namespace
from taskq.frame import LARGEST

VALIDITY_MS = 60_000
"""How long after its making a message may first be stored. Over the 30 s that clients repeat, under the 120 s
that an ended task's id is remembered at least: so a late repeat finds the id, or is refused."""

_ONE_TRY_S = 4.0
"""Below the socket timeout: an answer that came within it answers what was sent just now, not an old repeat."""

_OPTIONS_WEIGH = 4
"""What is delayed, expires or has a key counts as so many plain messages: it takes the server about as long."""


def store(
    namespace: Namespace, envelopes: Sequence[Envelope], not_after_ms: int | None = None
) -> Steps[list[Stored]]:
    """Store messages; gives what was done with each, in their order.

    `not_after_ms` (Redis time) is given where the very same messages were sent before; without it they are new,
    and if one is refused at once as too late, our idea of Redis's clock was old: it is sent once more.
    """
    if len(envelopes) == 1:
        return (yield from _send(namespace, namespace.keys_of(envelopes[0].id), envelopes, not_after_ms))
    done: dict[int, Stored] = {}
    for keys, places in _by_shard(namespace, envelopes).items():
        for some in _batches(envelopes, places):
            answers = yield from _send(namespace, keys, [envelopes[place] for place in some], not_after_ms)
            done.update(zip(some, answers, strict=True))
    return [done[place] for place in range(len(envelopes))]


def _send(
    namespace: Namespace, keys: Keys, batch: Sequence[Envelope], not_after_ms: int | None
) -> Steps[list[Stored]]:
    if not namespace.knows(keys.shard):
        yield from namespace.meet(keys.shard)
    asked = time.monotonic()
    limit = namespace.at_ms(asked) + VALIDITY_MS if not_after_ms is None else not_after_ms
    answers: list[Stored]
    now_ms, answers = yield enqueue(keys, batch, limit)
    namespace.hear(now_ms)
    refused = not_after_ms is None and now_ms > limit and any(answer.too_late for answer in answers)
    if refused and time.monotonic() - asked < _ONE_TRY_S:
        now_ms, answers = yield enqueue(keys, batch, now_ms + VALIDITY_MS)
    return answers


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
