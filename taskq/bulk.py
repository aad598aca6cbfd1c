"""Many calls at once: what `enqueue_many` takes, gives and does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from taskq.application import Application
from taskq.blocking import Patience
from taskq.broker.command import Steps, delay, work
from taskq.broker.commands.producing import BATCH, GATHERED, Envelope, Stored
from taskq.broker.storing import unknown_enqueue
from taskq.durability import Needs, strongest
from taskq.errors import (
    BrokerError,
    BrokerUnavailable,
    ConfigurationError,
    EnqueueUnknown,
    NotEncodable,
    QueueFull,
    TaskqError,
    TooLate,
)
from taskq.given import Given
from taskq.handle import TaskHandle
from taskq.message import Message
from taskq.middleware import run as run_hooks
from taskq.payloads import Aside

if TYPE_CHECKING:
    from taskq.codec import CallCodec

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Packer(Protocol[R_co]):
    """What makes a message of a call: a `Sender`."""

    app: Application
    name: str
    queue: str | None
    codec: CallCodec
    given: Given

    @property
    def needs(self) -> Needs | None:
        """What is to hold before its calls are taken for stored."""
        ...

    @property
    def block_s(self) -> float:
        """How many seconds a call waits for room in a full queue."""
        ...

    def pack(self, args: tuple[Any, ...], kwargs: dict[str, Any], queue: str) -> Parcel[R_co]:
        """Make the message of one call."""
        ...


class Call(msgspec.Struct, Generic[R_co], frozen=True):
    """One call that is not sent yet: `task.call(…)` makes it, `enqueue_many` sends it."""

    sender: Packer[R_co]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __repr__(self) -> str:
        return f"<Call {self.sender.codec.shown(self.sender.name, self.args, self.kwargs)}>"


class Enqueued(msgspec.Struct, Generic[R_co], frozen=True):
    """What became of one call of `enqueue_many`: a handle, or the error that `enqueue` would have raised."""

    handle: TaskHandle[R_co] | None = None
    error: TaskqError | None = None

    @property
    def created(self) -> bool:
        """True if a message was stored; False on an error, or if the id or the key was taken."""
        return self.handle is not None and self.handle.created

    def get(self) -> TaskHandle[R_co]:
        """Give the handle, or raise the error."""
        if self.handle is None:
            raise self.error or RuntimeError("this call has neither a handle nor an error")
        return self.handle


class Parcel(msgspec.Struct, Generic[R_co], frozen=True):
    """A call on its way: what is sent, and what makes a handle of the answer."""

    sender: Packer[R_co]
    envelope: Envelope
    message: Message
    aside: Aside | None = None
    """Its arguments, if they go to the store: before it is sent."""

    def confirm(self, stored: Stored) -> TaskHandle[R_co]:
        """Give the handle of what was stored, or raise what `Stored.check` raises."""
        stored.check()
        sender = self.sender
        # The server knows an id that was made here only if an earlier try of this very call has stored it.
        created = stored.created or (stored.id == self.envelope.id and sender.given.id is None)
        if hooks := sender.app.hooks.after_enqueue:
            run_hooks(hooks, stored.id, self.message, created)
        return TaskHandle(sender.app, stored.id, sender.codec, created, True)


def send_many(app: Application, calls: Iterable[Call[R]]) -> Steps[list[Enqueued[R]]]:
    """Store calls of any tasks in batches; gives what became of each, in their order.

    Once the server is out of reach, or refuses, the rest is not sent.
    """
    outcomes: list[Enqueued[R]] = []
    remaining = iter(calls)
    hopeless: set[str] = set()
    while batch := list(islice(remaining, BATCH)):
        if any(call.sender.needs for call in batch):  # they wait together, so that there are fewer waits
            batch += islice(remaining, GATHERED - BATCH)
        stopped = yield from _send_batch(app, batch, outcomes, hopeless)
        if stopped is not None:
            outcomes.extend(Enqueued(error=stopped) for _ in remaining)
    return outcomes


def _send_batch(
    app: Application, batch: Sequence[Call[R]], outcomes: list[Enqueued[R]], hopeless: set[str]
) -> Steps[TaskqError | None]:
    """Add what became of each call to `outcomes`; gives the error of all that is not to be sent any more.

    `hopeless` are the queues that a call before has waited for in vain.
    """
    parcels: list[Parcel[R] | TaskqError] = []
    for call in batch:
        sender = call.sender
        try:
            queue = sender.queue or (yield from app.queue_of(sender.name))
            parcels.append(sender.pack(call.args, call.kwargs, queue))
        except TaskqError as error:
            parcels.append(error)
        except (ValueError, TypeError, OverflowError) as error:  # an option that cannot travel
            parcels.append(_caused(NotEncodable(f"a call of {sender.name} cannot travel: {error}"), error))
    large = [place for place, one in enumerate(parcels) if isinstance(one, Parcel) and one.aside]
    if large:
        yield from _put_aside(app, parcels, large)
    packed = [parcel for parcel in parcels if isinstance(parcel, Parcel)]
    answers, stopped = yield from _store(app, packed)
    if stopped is None and any(isinstance(one.error, QueueFull) for one in answers):
        stopped = yield from _wait_for_room(app, packed, answers, hopeless)
    if len(packed) == len(batch):
        outcomes.extend(answers)
    else:
        rest = iter(answers)
        outcomes.extend(
            next(rest) if isinstance(parcel, Parcel) else Enqueued(error=parcel) for parcel in parcels
        )
    return stopped


def _put_aside(app: Application, parcels: list[Parcel[R] | TaskqError], large: Sequence[int]) -> Steps[None]:
    """Store the arguments that do not travel; a parcel whose own cannot be stored becomes the error."""
    asides = [one.aside for place in large if isinstance(one := parcels[place], Parcel) and one.aside]
    errors = yield work(partial(app.payloads.put_each, asides))
    for place, error in zip(large, errors, strict=True):
        if error is not None:
            parcels[place] = error


def _store(
    app: Application, parcels: Sequence[Parcel[R]]
) -> Steps[tuple[list[Enqueued[R]], TaskqError | None]]:
    """Send them; gives what became of each, and the error of what is not to be sent any more."""
    if not parcels:
        return [], None
    needs = strongest(parcel.sender.needs for parcel in parcels)
    try:
        stored = yield from app.broker.store([parcel.envelope for parcel in parcels], needs)
    except EnqueueUnknown as error:
        answers = [
            Enqueued[R](error=unknown(parcel, place, needs, error)) for place, parcel in enumerate(parcels)
        ]
        return answers, BrokerUnavailable(f"not sent, for the batch before is unknown: {error}")
    except (BrokerError, ConfigurationError) as error:
        return [Enqueued(error=error) for _ in parcels], error
    answers = [_outcome(parcel, one) for parcel, one in zip(parcels, stored, strict=True)]
    refused = stored[-1].refusal is not None  # from then on
    return answers, answers[-1].error if refused else None


def _wait_for_room(
    app: Application, parcels: Sequence[Parcel[R]], answers: list[Enqueued[R]], hopeless: set[str]
) -> Steps[TaskqError | None]:
    """Send again what found its queue full, while any gets in within the time that it waits; replaces its `answers`."""
    patience = Patience()
    while True:
        waiting = [
            place
            for place, answer in enumerate(answers)
            if isinstance(answer.error, QueueFull)
            and answer.error.queue not in hopeless
            and patience.lasts(parcels[place].sender.block_s)
        ]
        if not waiting:
            break
        yield delay(patience.pause(max(parcels[place].sender.block_s for place in waiting)))
        again, stopped = yield from _store(app, [parcels[place] for place in waiting])
        for place, answer in zip(waiting, again, strict=True):
            answers[place] = answer
        if stopped is not None:
            return stopped
        if not all(isinstance(answer.error, QueueFull) for answer in again):
            patience.renew()
    for parcel, answer in zip(parcels, answers, strict=True):
        if isinstance(answer.error, QueueFull) and parcel.sender.block_s:
            hopeless.add(answer.error.queue)
    return None


def _outcome(parcel: Parcel[R], stored: Stored) -> Enqueued[R]:
    try:
        return Enqueued(parcel.confirm(stored))
    except (BrokerError, ConfigurationError, TooLate) as error:
        return Enqueued(error=error)


def _caused(error: TaskqError, cause: Exception) -> TaskqError:
    error.__cause__ = cause
    return error


def unknown(parcel: Parcel[R], place: int, needs: Needs | None, error: EnqueueUnknown) -> EnqueueUnknown:
    """Make the error of one call of a batch whose fate is unknown; `.retry()` gives a handle or raises such again."""
    again: Callable[[], Sequence[Stored]] = error.retry  # the whole batch, which is harmless

    def retry() -> TaskHandle[R]:
        try:
            stored = again()
        except EnqueueUnknown as still:
            raise unknown(parcel, place, needs, still) from still.__cause__
        return parcel.confirm(stored[place])

    id = parcel.envelope.id
    found = unknown_enqueue(f"task {id}", id, needs, error.__cause__, retry)
    found.__cause__ = error.__cause__
    return found
