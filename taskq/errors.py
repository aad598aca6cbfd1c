"""Everything taskq raises, as one tree.

    TaskqError
    ├── ConfigurationError            what was declared or configured cannot work
    │   ├── BrokerNotConfigured       no server was named
    │   ├── BadName                   a name, an id or a key has characters that are refused
    │   ├── DuplicateTask             two functions claim one task name
    │   └── SigningRequired           this call travels as code, and no signing key is set
    ├── BrokerError                   the server, or the way to it
    │   ├── BrokerUnavailable         not reached, or lost, for longer than we repeat
    │   ├── BackpressureError         the server refuses writes (full memory, disk, replicas)
    │   │   └── QueueFull             as many tasks are ready in the queue as its `max_length` allows
    │   ├── BrokerRefused             credentials or rights are missing
    │   ├── BrokerDataLost            the namespace's `meta` has vanished
    │   └── FormatMismatch            another version, or another number of shards, wrote this namespace
    ├── EnqueueUnknown                the message may or may not be stored; `.retry()` settles it
    │   └── DurabilityUnknown         it is not known to be as safe as its durability asks
    ├── TooLate                       a repeat came after its time; nothing was stored
    ├── NotEncodable (TypeError)      a value cannot travel; the message names the path to it
    │   └── PayloadTooLarge           a message or a result has more bytes than `max_payload`
    ├── ArgumentMismatch (TypeError)  an argument does not fit its annotation, or the signature
    ├── BadMessage                    bytes that are no message of ours
    │   └── BadSignature              not signed by one of our keys, altered, or moved here from elsewhere
    │       └── MessageTooOld         signed, and older than max_age allows: sent again, or it waited for too long
    ├── PayloadError                  what was offloaded to a store
    │   ├── PayloadUnavailable        the store is out of reach, or none is named here
    │   ├── PayloadMissing            the store has the object no more
    │   └── PayloadMismatch           the object is not what was stored, or too large
    ├── TaskNotFound (LookupError)    no such id, or its record is gone
    │   └── ResultExpired             it ran; its record's time is over
    ├── NotReplayable                 it has not ended, or its message is gone
    ├── ResultNotStored               it ran; its result was not kept (result_ttl=0)
    ├── ResultTimeout (TimeoutError)  it has not ended yet
    ├── TaskEnded                     it ended without a result
    │   ├── TaskFailed                it failed for good; carries the remote traceback as text
    │   ├── TaskCancelled
    │   └── TaskExpired
    ├── BlockingInTask                result() inside a task would hold the slot it waits for
    ├── SoftTimeout                   raised inside a task when its soft timeout is over
    ├── TaskTimeout (TimeoutError)    stands as the error of a task that did not end within its timeout
    └── CrashedTooOften               stands as the error of a task that its processes died of

`Retry` and `Reject` (in `taskq.retry`) are signals that a task raises on purpose; they are no errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class TaskqError(Exception):
    """The root of everything that taskq raises."""


class ConfigurationError(TaskqError):
    """Raised when what was declared or configured cannot work."""


class BrokerNotConfigured(ConfigurationError):
    """Raised when a server is needed and none was named."""


class BadName(ConfigurationError, ValueError):
    """Raised when a name, an id or a key is empty, too long, or has characters that are refused."""


class DuplicateTask(ConfigurationError):
    """Raised when two functions are declared under one task name."""


class SigningRequired(ConfigurationError):
    """Raised when a call would have to travel as code and no signing key is configured."""


class BrokerError(TaskqError):
    """Raised when the server, or the way to it, failed."""


class BrokerUnavailable(BrokerError, ConnectionError):
    """Raised when the server was not reached, or was lost, for longer than we repeat."""


class BackpressureError(BrokerError):
    """Raised when the server refuses writes: memory or disk is full, or replicas are missing."""


class QueueFull(BackpressureError):
    """Raised when a queue has as many ready tasks as its `max_length` allows. Nothing was stored.

    `id` is the task's, `length` how many tasks were ready in `queue`.
    """

    def __init__(self, id: str, queue: str, length: int, max_length: int) -> None:
        super().__init__(
            f"task {id} is not stored: queue {queue!r} is full (ready: {length:,}, max_length: {max_length:,}). "
            "Enqueue it later, or wait for room with block_when_full=; run more workers; or raise the bound: "
            f"taskq max-length {queue} N"
        )
        self.id = id
        self.queue = queue
        self.length = length
        self.max_length = max_length


class BrokerRefused(BrokerError):
    """Raised when the server wants credentials, or denies a command to these."""


class BrokerDataLost(BrokerError):
    """Raised when the namespace's `meta` has vanished: the server lost its data, or was flushed."""


class FormatMismatch(BrokerError):
    """Raised when another format version, or another number of shards, wrote this namespace."""


class EnqueueUnknown(TaskqError):
    """Raised when `enqueue` cannot know whether its message is stored.

    `retry()` sends the very same message again: one id is one task, so that is safe whatever happened before.
    """

    def __init__(self, message: str, *, id: str, retry: Callable[[], Any]) -> None:
        super().__init__(message)
        self.id = id
        self.retry = retry


class DurabilityUnknown(EnqueueUnknown):
    """Raised when `enqueue` cannot know whether its message is as safe as its durability asks.

    It may be stored, and then it runs unless the server loses it. `retry()` sends it again, which is safe, and waits
    again, also if it is found stored.
    """


class TooLate(TaskqError):
    """Raised when a repeated `enqueue` reached the server after its time; nothing was stored."""


class NotEncodable(TaskqError, TypeError):
    """Raised when a value cannot travel. The message names the path to it, as in `kwargs['user'].session`."""


class PayloadTooLarge(NotEncodable):
    """Raised when a message or a result has more bytes than `max_payload` allows."""


class ArgumentMismatch(TaskqError, TypeError):
    """Raised when an argument does not fit its annotation, or the call not the signature. Never retried."""


class BadMessage(TaskqError, ValueError):
    """Raised when bytes are no message, record or outcome of ours."""


class BadSignature(BadMessage):
    """Raised, where there are signing keys, when a message or an outcome is not signed, was altered, or was moved."""


class MessageTooOld(BadSignature):
    """Raised, where there is a `max_age`, when a signed message is older: sent again, or it has waited for too long."""


class PayloadError(TaskqError):
    """Raised when an offloaded payload cannot be stored or brought back."""


class PayloadUnavailable(PayloadError, ConnectionError):
    """Raised when the store of payloads is out of reach, refuses, or is not named here. A task is retried for it."""


class PayloadMissing(PayloadError, LookupError):
    """Raised when the store of payloads has an object no more. Never retried."""


class PayloadMismatch(PayloadError, ValueError):
    """Raised when an object is not what its reference says, or larger than `max_payload`. Never retried."""


class TaskNotFound(TaskqError, LookupError):
    """Raised when nothing is known of an id: it never existed, or its record's time is over."""


class ResultExpired(TaskNotFound):
    """Raised when a task that was surely enqueued has ended and its record's time is over."""


class NotReplayable(TaskqError):
    """Raised when a task cannot be run again: it has not ended, or its message, with the arguments, is gone."""


class ResultNotStored(TaskqError):
    """Raised when a task succeeded and its result was not kept (`result_ttl=0`)."""


class ResultTimeout(TaskqError, TimeoutError):
    """Raised when a task has not ended within the timeout of `result()`."""


class TaskEnded(TaskqError):
    """Raised by `result()` when a task ended without one. `id` names it."""

    def __init__(self, message: str, *, id: str) -> None:
        super().__init__(message)
        self.id = id


class TaskFailed(TaskEnded):
    """Raised by `result()` when a task failed for good.

    `type` is the remote exception's qualified name, `traceback` its traceback; both are text, for nothing
    that was read from the server is ever imported or rebuilt.
    """

    def __init__(self, message: str, *, id: str, type: str, traceback: str) -> None:
        super().__init__(message, id=id)
        self.type = type
        self.traceback = traceback


class TaskCancelled(TaskEnded):
    """Raised by `result()` when a task was cancelled."""


class TaskExpired(TaskEnded):
    """Raised by `result()` when a task's time was over before it started."""


class BlockingInTask(TaskqError, RuntimeError):
    """Raised when `result()` is called inside a task: it would hold a slot that the other may need."""


class SoftTimeout(TaskqError):
    """Raised inside a task when its soft timeout is over."""


class TaskTimeout(TaskqError, TimeoutError):
    """Stands as the error of a task that did not end within its timeout. It is retried like any other."""


class CrashedTooOften(TaskqError):
    """Stands as the error of a task whose process died, or had to be killed, as often as `max_crashes` allows."""
