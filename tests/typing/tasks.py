"""What type checkers know of tasks. Checked, never run: an ignore that is not needed is an error as well."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, assert_type

from taskq import (
    Enqueued,
    RetryPolicy,
    Secret,
    State,
    Task,
    TaskGroup,
    TaskHandle,
    TaskInfo,
    TaskQ,
    as_completed,
    as_completed_async,
    wait,
    wait_async,
)


@asynccontextmanager
async def lifespan(app: TaskQ) -> AsyncGenerator[dict[str, int]]:
    yield {"answer": 42}


app = TaskQ("typing", include=["shop.tasks"], lifespan=lifespan, lease="30s")
group = TaskGroup("library", queue="library")


@app.task
def add(a: int, b: int = 0) -> int:
    return a + b


@app.task(queue="mail", priority=9, max_retries=5, timeout="30s", retry_for=(OSError, KeyError), ack="early")
def send(to: str, *, subject: str) -> str:
    return to + subject


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(result_ttl=timedelta(hours=1), retry=RetryPolicy(delay=5, cap="1h"))
async def store(key: str, value: float | None = None) -> None: ...


@group.task
def shared(a: int) -> list[str]:
    return [str(a)]


@group.task(name="library.other")
async def shared_async(a: int) -> set[int]:
    return {a}


async def a_call_runs_inline() -> None:
    assert_type(add(1, b=2), int)
    assert_type(send("a@b.c", subject="hello"), str)
    coroutine = assert_type(fetch("u"), Coroutine[Any, Any, bytes])
    assert_type(await coroutine, bytes)
    assert_type(shared(1), list[str])
    assert_type(await shared_async(1), set[int])


def wrong_arguments_are_errors() -> None:
    add("1")  # type: ignore[arg-type]
    send(1, subject="hello")  # type: ignore[arg-type]
    add.enqueue()  # type: ignore[call-arg]
    add.enqueue("1")  # type: ignore[arg-type]
    add.enqueue(1, 2, 3)  # type: ignore[call-arg]
    add.enqueue(1, c=2)  # type: ignore[call-arg]
    send.enqueue("a@b.c", "hello")  # type: ignore[call-arg]
    send.enqueue("a@b.c", subject=1)  # type: ignore[arg-type]
    send.delay("a@b.c")  # type: ignore[call-arg]
    fetch.enqueue(1)  # type: ignore[arg-type]
    add.using(priority=9).enqueue("1")  # type: ignore[arg-type]
    add.call("1")  # type: ignore[arg-type]
    shared.enqueue("1")  # type: ignore[arg-type]


async def wrong_arguments_are_errors_in_a_loop() -> None:
    await add.aenqueue("1")  # type: ignore[arg-type]
    await fetch.aenqueue()  # type: ignore[call-arg]
    await store.using(delay=5).aenqueue("k", "v")  # type: ignore[arg-type]


def a_handle_knows_its_result() -> None:
    assert_type(add.enqueue(1), TaskHandle[int])
    assert_type(add.enqueue(1).result(timeout=10), int)
    assert_type(add.using(delay="1m").enqueue(1).result(), int)
    assert_type(fetch.enqueue("u").result(timeout="10s"), bytes)
    assert_type(store.enqueue("k").result(), None)
    assert_type(shared.enqueue(1).result(), list[str])
    assert_type(add.delay(1), TaskHandle[int])
    assert_type(add.apply_async((1,), countdown=5), TaskHandle[int])
    assert_type(add.handle("0-1").result(), int)
    assert_type(fetch.handle("0-1"), TaskHandle[bytes])
    assert_type(app.handle("0-1"), TaskHandle[Any])
    assert_type(app.enqueue("by.name", 1, queue="mail"), TaskHandle[Any])


async def a_handle_knows_its_result_in_a_loop() -> None:
    assert_type(await fetch.aenqueue("u"), TaskHandle[bytes])
    assert_type(await (await fetch.aenqueue("u")).aresult(timeout=10), bytes)
    assert_type(await (await add.aenqueue(1)).aresult(), int)


async def what_handles_say() -> None:
    handle = add.enqueue(1)
    assert_type(handle.id, str)
    assert_type(handle.created, bool)
    assert_type(handle.status(), State)
    assert_type(handle.cancel(), State)
    assert_type(handle.ready(), bool)
    assert_type(handle.info(), TaskInfo)
    assert_type(await handle.astatus(), State)
    assert_type(await handle.ainfo(), TaskInfo)
    takes_any_result(handle)  # what reads a result may know less of it


def takes_any_result(handle: TaskHandle[object]) -> None:
    assert_type(handle.result(), object)


def many_at_once() -> None:
    assert_type(add.enqueue_many([(1,), (2, 3), add.call(4)]), list[Enqueued[int]])
    assert_type(app.enqueue_many([add.call(1), add.using(key="k").call(2)]), list[Enqueued[int]])
    add.enqueue_many([send.call("a@b.c", subject="hello")])  # type: ignore[list-item]
    handles = [add.enqueue(1), add.enqueue(2)]
    assert_type(wait(handles, timeout=5), tuple[list[TaskHandle[int]], list[TaskHandle[int]]])
    for handle in as_completed(handles):
        assert_type(handle.result(), int)


async def many_at_once_in_a_loop() -> None:
    handles = [await fetch.aenqueue("u")]
    assert_type(await wait_async(handles), tuple[list[TaskHandle[bytes]], list[TaskHandle[bytes]]])
    async for handle in as_completed_async(handles, timeout="1m"):
        assert_type(await handle.aresult(), bytes)


def double(a: int) -> int:
    return 2 * a


async def adouble(a: int) -> int:
    return 2 * a


async def functions_that_are_no_tasks() -> None:
    assert_type(app.submit(double, 1), TaskHandle[int])
    assert_type(app.submit(adouble, a=1).result(), int)
    assert_type(await app.asubmit(double, 1), TaskHandle[int])
    assert_type(await app.asubmit(adouble, 1), TaskHandle[int])
    assert_type(app.submit(add, 1), TaskHandle[int])
    app.submit(double, "1")  # type: ignore[call-overload]
    await app.asubmit(adouble)  # type: ignore[call-overload]


def options_are_checked() -> None:
    app.task(queue=1)  # type: ignore[call-overload]
    app.task(ack="never")  # type: ignore[call-overload]
    app.task(isolate="process", max_memory="500MB")
    app.task(isolate="thread")  # type: ignore[call-overload]
    app.task(retries=5)  # type: ignore[call-overload]
    add.using(prio=9)  # type: ignore[call-arg]
    add.using(eta="tomorrow")  # type: ignore[arg-type]


def functions_of_other_kinds() -> None:
    assert_type(app.task(len, name="builtin").enqueue([1]).result(), int)
    assert_type(app.task(functools.partial(add.function, 1), name="partial").enqueue(2).result(), Any)


def takes_a_task(task: Task[..., int]) -> TaskHandle[int]:
    return task.enqueue(1)


takes_a_task(add)
takes_a_task(fetch)  # type: ignore[arg-type]


@app.task(result_ttl=0)
def log_in(user: str, password: Secret[str], pin: Secret[int] | None = None) -> Secret[bytes]:
    assert_type(password.reveal(), str)
    assert_type(f"{password}", str)
    if pin is not None:
        assert_type(pin.reveal(), int)
    any_secret(password)
    return Secret(password.reveal().encode())


def any_secret(value: Secret[object]) -> None:
    assert_type(value.reveal(), object)


def secrets_are_typed() -> None:
    assert_type(Secret("hunter2"), Secret[str])
    assert_type(log_in.enqueue("ann", Secret("hunter2"), Secret(1)).result().reveal(), bytes)
    log_in.enqueue("ann", Secret(b"hunter2"))  # type: ignore[arg-type]
    log_in.enqueue("ann", "hunter2")  # type: ignore[arg-type]
    TaskQ("bank", redact=["*iban*"])
    TaskQ("bank", redact=())
