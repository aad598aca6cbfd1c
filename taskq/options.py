"""What a task declares: its queue, its retries, its timeouts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

from taskq.clock import Duration, to_ms
from taskq.durability import Durability, check_durability
from taskq.given import (
    Codec,
    check_codec,
    check_count,
    check_priority,
    positive_ms,
    read_option,
    read_optional,
)
from taskq.names import check_name
from taskq.retry import Errors, RetryPolicy
from taskq.sizes import Size, to_bytes

Ack = Literal["late", "early", "manual"]
"""When a task is settled: after its run; at its start, so that it runs at most once; when it says so."""

Isolate = Literal["process"]
"""What each run of a task has to itself, in place of a thread or a place on the loop of a shared process."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What a task declares. Workers read it from their own code at run time, but for queue and priority."""

    queue: str = "default"
    priority: int = 5
    """0 to 9 within the queue, 9 first."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout_ms: int | None = 3_600_000
    """How long one run may take before it is stopped; None is no limit. An hour."""
    soft_timeout_ms: int | None = None
    """When `SoftTimeout` is raised inside the task, so that it can clean up."""
    result_ttl_ms: int | None = None
    """How long the result is kept, 0 not at all; None is what the app says."""
    max_crashes: int = 3
    """How often the task may kill its process before it is dead-lettered."""
    ack: Ack = "late"
    keep_message: bool = False
    """Whether the message stays as long as the record of what ended, to be shown and replayed."""
    compress_over: int | None = None
    """Messages and outcomes above this many bytes are compressed; None is what the app says."""
    offload_over: int | None = None
    """Arguments and results above this many bytes go to the store; None is what the app says."""
    codec: Codec = "msgpack"
    durability: Durability | None = None
    """What holds once `enqueue` returns; None is what the app says."""
    isolate: Isolate | None = None
    """`"process"`: each run has a process of its own, forked where the app is imported already."""
    max_memory: int | None = None
    """Bytes that a run with a process of its own may allocate beyond what the imported app takes; None is no limit."""


class TaskParameters(TypedDict, total=False):
    """What `@app.task(…)` takes. All have a default; see `TaskOptions`."""

    name: str
    """In place of `app.module.function`."""
    queue: str
    priority: int
    max_retries: int
    """Runs after the first one; 5."""
    retry: RetryPolicy
    """Delays and errors of retries; `max_retries`, `retry_for` and `no_retry_for` stand for its fields."""
    retry_for: Errors
    no_retry_for: Errors
    timeout: Duration | None
    soft_timeout: Duration | None
    result_ttl: Duration | None
    max_crashes: int
    ack: Ack
    keep_message: bool
    compress_over: Size | None
    offload_over: Size | None
    codec: Codec
    durability: Durability | None
    isolate: Isolate | None
    max_memory: Size | None


def check_option_names(names: Iterable[str]) -> None:
    """Raise `TypeError` if one of `names` is none of `TaskParameters`."""
    known = TaskParameters.__annotations__
    for name in names:
        if name not in known:
            import difflib  # for this one error

            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"task() has no option {name!r}{hint}")


def options_of(
    default_queue: str,
    *,
    queue: str | None = None,
    priority: int = 5,
    max_retries: int | None = None,
    retry: RetryPolicy | None = None,
    retry_for: Errors | None = None,
    no_retry_for: Errors | None = None,
    timeout: Duration | None = "1h",
    soft_timeout: Duration | None = None,
    result_ttl: Duration | None = None,
    max_crashes: int = 3,
    ack: Ack = "late",
    keep_message: bool = False,
    compress_over: Size | None = None,
    offload_over: Size | None = None,
    codec: Codec = "msgpack",
    durability: Durability | None = None,
    isolate: Isolate | None = None,
    max_memory: Size | None = None,
) -> TaskOptions:
    """Check what a decorator was given and put it into units.

    Raises:
        ValueError: a value cannot be meant.
    """
    changes: dict[str, Any] = {
        "max_retries": max_retries,
        "retry_for": retry_for,
        "no_retry_for": no_retry_for,
    }
    policy = dataclasses.replace(
        retry or RetryPolicy(), **{name: value for name, value in changes.items() if value is not None}
    )
    if ack not in ("late", "early", "manual"):
        raise ValueError(f"ack={ack!r}: it is 'late', 'early' or 'manual'")
    if keep_message not in (True, False):
        raise ValueError(f"keep_message={keep_message!r}: it is True or False")
    if isolate not in ("process", None):
        raise ValueError(f"isolate={isolate!r}: it is 'process' or None")
    options = TaskOptions(
        queue=check_name("the queue", default_queue if queue is None else queue),
        priority=read_option("priority", priority, check_priority),
        retry=policy,
        timeout_ms=read_optional("timeout", timeout, positive_ms),
        soft_timeout_ms=read_optional("soft_timeout", soft_timeout, positive_ms),
        result_ttl_ms=read_optional("result_ttl", result_ttl, to_ms),
        max_crashes=read_option("max_crashes", max_crashes, check_count),
        ack=ack,
        keep_message=keep_message,
        compress_over=read_optional("compress_over", compress_over, to_bytes),
        offload_over=read_optional("offload_over", offload_over, to_bytes),
        codec=read_option("codec", codec, check_codec),
        durability=read_optional("durability", durability, check_durability),
        isolate=isolate,
        max_memory=read_optional("max_memory", max_memory, _some_bytes),
    )
    if options.max_crashes == 0:
        raise ValueError("max_crashes=0: a task is started once at least")
    if options.timeout_ms and options.soft_timeout_ms and options.soft_timeout_ms >= options.timeout_ms:
        raise ValueError(f"soft_timeout={soft_timeout!r} is to come before timeout={timeout!r}")
    if options.max_memory and not isolate:
        raise ValueError(
            f"max_memory={max_memory!r} is for a process that runs this task alone: isolate='process'"
        )
    return options


def _some_bytes(value: Size) -> int:
    if not (size := to_bytes(value)):
        raise ValueError("it must be above 0")
    return size
