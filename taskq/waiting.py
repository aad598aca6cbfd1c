"""Waiting for many tasks at once, of any apps.

What ended has its record in the handle, so that `result()` asks the server no more. A task of which nothing
is known counts as ended; its `result()` says so.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from taskq.clock import Duration
from taskq.context import refuse_in_task, warn_in_loop
from taskq.errors import ResultTimeout
from taskq.handle import TaskHandle, seconds, within
from taskq.record import Record

if TYPE_CHECKING:
    import asyncio

    from taskq.broker.inbox import Inbox

R = TypeVar("R")
End = Record | None


def wait(
    handles: Iterable[TaskHandle[R]], timeout: Duration | None = None, *, allow_block: bool = False
) -> tuple[list[TaskHandle[R]], list[TaskHandle[R]]]:
    """Wait until all tasks have ended, or `timeout` is over; gives (done, pending), each in the given order.

    Raises:
        BlockingInTask: the caller is a task itself, and does not `allow_block`.
    """
    refuse_in_task("wait", allow_block)
    warn_in_loop("wait", "wait_async")
    given = list(handles)
    futures = _watch(given, timeout)
    try:
        concurrent.futures.wait(futures, seconds(timeout))
        return _split(given, futures)
    finally:
        _forget(given, futures)


async def wait_async(
    handles: Iterable[TaskHandle[R]],
    timeout: Duration | None = None,  # noqa: ASYNC109 - as `wait` has it
) -> tuple[list[TaskHandle[R]], list[TaskHandle[R]]]:
    """As `wait`, on the running loop."""
    import asyncio

    given = list(handles)
    waiters = [asyncio.ensure_future(_end_of(handle)) for handle in given]
    try:
        if waiters:
            await asyncio.wait(waiters, timeout=seconds(timeout))
        return _split(given, waiters)
    finally:
        for waiter in waiters:
            waiter.cancel()


def as_completed(
    handles: Iterable[TaskHandle[R]], timeout: Duration | None = None, *, allow_block: bool = False
) -> Iterator[TaskHandle[R]]:
    """Give handles as their tasks end.

    Raises:
        ResultTimeout: not all have ended `timeout` after the first was asked for.
        BlockingInTask: the caller is a task itself, and does not `allow_block`.
    """
    refuse_in_task("as_completed", allow_block)
    warn_in_loop("as_completed", "as_completed_async")
    return _in_order(list(handles), timeout)


def _in_order(handles: list[TaskHandle[R]], timeout: Duration | None) -> Iterator[TaskHandle[R]]:
    futures = _watch(handles, timeout)
    waited: dict[Future[End], list[TaskHandle[R]]] = {}
    for handle, future in zip(handles, futures, strict=True):
        waited.setdefault(future, []).append(handle)
    try:
        for future in concurrent.futures.as_completed(waited, seconds(timeout)):
            for handle in waited[future]:
                _note(handle, future)
                yield handle
    except TimeoutError:
        raise _late(waited, timeout) from None
    finally:
        _forget(handles, futures)


async def as_completed_async(
    handles: Iterable[TaskHandle[R]],
    timeout: Duration | None = None,  # noqa: ASYNC109 - as `as_completed` has it
) -> AsyncIterator[TaskHandle[R]]:
    """Give handles as their tasks end, on the running loop. Raises what `as_completed` raises."""
    import asyncio

    limit = seconds(timeout)
    until = None if limit is None else asyncio.get_running_loop().time() + limit
    ended: asyncio.Queue[asyncio.Task[End]] = asyncio.Queue()
    waiters = {asyncio.create_task(_end_of(handle)): handle for handle in handles}
    for waiter in waiters:
        waiter.add_done_callback(ended.put_nowait)
    try:
        for _ in waiters:
            try:
                async with asyncio.timeout_at(until):
                    waiter = await ended.get()
            except TimeoutError:
                raise _late(waiters, timeout) from None
            _note(waiters[waiter], waiter)
            yield waiters[waiter]
    finally:
        for waiter in waiters:
            waiter.cancel()


async def _end_of(handle: TaskHandle[Any]) -> End:
    return handle.end or await handle.inbox.awatch(handle.id)


def _watch(handles: Sequence[TaskHandle[Any]], timeout: Duration | None) -> list[Future[End]]:
    """Give a future for each handle, registering all that are new in as few commands as it takes."""
    new: dict[Inbox, list[str]] = {}
    for handle in handles:
        if handle.end is None:
            new.setdefault(handle.inbox, []).append(handle.id)
    watched = {inbox: inbox.watch(ids, seconds(timeout)) for inbox, ids in new.items()}
    return [
        _known(handle.end) if handle.end is not None else watched[handle.inbox][handle.id]
        for handle in handles
    ]


def _known(end: Record) -> Future[End]:
    future: Future[End] = Future()
    future.set_result(end)
    return future


def _note(handle: TaskHandle[Any], future: Future[End] | asyncio.Future[End]) -> None:
    handle.end = future.result()


def _split(
    handles: Sequence[TaskHandle[R]], futures: Sequence[Future[End] | asyncio.Future[End]]
) -> tuple[list[TaskHandle[R]], list[TaskHandle[R]]]:
    done: list[TaskHandle[R]] = []
    pending: list[TaskHandle[R]] = []
    for handle, future in zip(handles, futures, strict=True):
        if future.done():
            _note(handle, future)
            done.append(handle)
        else:
            pending.append(handle)
    return done, pending


def _forget(handles: Sequence[TaskHandle[Any]], futures: Sequence[Future[End]]) -> None:
    # Handles of one task share a future, and count as one waiter.
    for future, handle in dict(zip(futures, handles, strict=True)).items():
        if not future.done():
            handle.inbox.forget([handle.id])


def _late(futures: Iterable[Future[End] | asyncio.Future[End]], timeout: Duration | None) -> ResultTimeout:
    late = [future for future in futures if not future.done()]
    return ResultTimeout(
        f"{len(late)} tasks have not ended within {within(timeout)}; they may still run, and succeed"
    )
