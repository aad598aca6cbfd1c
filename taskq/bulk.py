"""Many calls at once: what `enqueue_many` takes, gives and does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from taskq.application import Application
from taskq.broker.command import Steps, work
from taskq.broker.commands.producing import BATCH, GATHERED, Envelope, Stored
from taskq.broker.storing import unknown_enqueue
from taskq.durability import Needs, strongest
from taskq.errors import (
    BrokerError,
    BrokerUnavailable,
    ConfigurationError,
    EnqueueUnknown,
    NotEncodable,
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
    while batch := list(islice(remaining, BATCH)):
        if any(call.sender.needs for call in batch):  # they wait together, so that there are fewer waits
            batch += islice(remaining, GATHERED - BATCH)
        stopped = yield from _send_batch(app, batch, outcomes)
        if stopped is not None:
            outcomes.extend(Enqueued(error=stopped) for _ in remaining)
    return outcomes


def _send_batch(
    app: Application, batch: Sequence[Call[R]], outcomes: list[Enqueued[R]]
) -> Steps[TaskqError | None]:
    """Add what became of each call to `outcomes`; gives the error of all that is not to be sent any more."""
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
    needs = strongest(parcel.sender.needs for parcel in packed)
    stopped: TaskqError | None = None
    answers: list[Enqueued[R]] = []
    try:
        if packed:
            stored = yield from app.broker.store([parcel.envelope for parcel in packed], needs)
            answers = [_outcome(parcel, one) for parcel, one in zip(packed, stored, strict=True)]
    except EnqueueUnknown as error:
        answers = [
            Enqueued(error=unknown(parcel, place, needs, error)) for place, parcel in enumerate(packed)
        ]
        stopped = BrokerUnavailable(f"not sent, for the batch before is unknown: {error}")
    except (BrokerError, ConfigurationError) as error:
        answers = [Enqueued(error=error) for _ in packed]
        stopped = error
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


def _outcome(parcel: Parcel[R], stored: Stored) -> Enqueued[R]:
    try:
        return Enqueued(parcel.confirm(stored))
    except (BrokerError, TooLate) as error:
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
