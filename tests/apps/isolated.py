"""Tasks with a process of their own, and what they may do in it; others in the worker process beside them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from taskq import Middleware, Reject, Retry, RetryPolicy, SoftTimeout, TaskQ, current_task
from taskq.context import TaskContext
from tests.apps.deadly import die
from tests.apps.endings import spin
from tests.apps.ledger import note, noted, write

app = TaskQ("tests")

AT_ONCE = RetryPolicy(max_retries=1, delay=0.02, factor=1, jitter=False)


@app.task
def beside(seconds: float) -> int:
    """A neighbour in the worker process; gives that."""
    with noted():
        spin(seconds)
        return os.getpid()


@app.task
def hog(seconds: float) -> int:
    """Let nothing else in the worker process run, as some C code does."""
    with noted():
        ctypes.PyDLL(None).usleep(round(seconds * 1e6))
        return os.getpid()


@app.task
def leave_a_fork() -> int:
    """Fork the worker process, and leave that running; gives it."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    return pid


@app.task(isolate="process")
def nap(seconds: float) -> int:
    with noted():
        time.sleep(seconds)
        return current_task().attempt


@app.task(isolate="process")
def where() -> tuple[int, int]:
    """Gives its process and the one above it."""
    return os.getpid(), os.getppid()


@app.task(isolate="process")
async def awhere() -> tuple[int, int]:
    await asyncio.sleep(0)
    return os.getpid(), os.getppid()


@app.task(isolate="process", max_crashes=2)
def crash(how: str, seconds: float = 0.0) -> None:
    with noted():
        time.sleep(seconds)
        die(how)


@app.task(isolate="process", max_crashes=2)
async def acrash(how: str) -> None:
    with noted():
        await asyncio.sleep(0)
        die(how)


@app.task(isolate="process", retry=AT_ONCE, timeout=0.4)
def in_c() -> None:
    """It holds the interpreter in C code: no exception reaches it."""
    with noted():
        sum(range(10**15))


@app.task(isolate="process", retry=AT_ONCE, timeout=0.4)
def asleep() -> None:
    """It sleeps in a call of the system, which a signal ends."""
    with noted():
        time.sleep(600)


@app.task(isolate="process", retry=AT_ONCE, timeout=0.4)
async def awaiting() -> None:
    with noted():
        await asyncio.sleep(600)


@app.task(isolate="process", soft_timeout=0.3, timeout=20, max_retries=0)
def soft(catch: bool) -> str:
    with noted():
        try:
            time.sleep(600)
        except SoftTimeout:
            note("soft")
            if not catch:
                raise
        return "cleaned up"


@app.task(isolate="process", soft_timeout=0.3, timeout=20, max_retries=0)
async def asoft(catch: bool) -> str:
    with noted():
        try:
            await asyncio.sleep(600)
        except SoftTimeout:
            note("soft")
            if not catch:
                raise
        return "cleaned up"


@app.task(isolate="process")
def endless(how: str) -> None:
    """Run until it is ended; gives, in the ledger, its process and one that it started."""
    with noted():
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note("started", child.pid)
        if how == "in C":
            sum(range(10**15))
        elif how == "stubborn":
            while True:
                try:
                    time.sleep(600)
                except BaseException as error:  # noqa: BLE001 - this is the point
                    note("swallowed", type(error).__name__)
        else:
            time.sleep(600)


@app.task(isolate="process")
async def aendless() -> None:
    with noted():
        await asyncio.sleep(600)


@app.task(isolate="process", max_crashes=1)
def babble() -> None:
    """Write to whatever is open, as a program does whose memory is broken, and go on."""
    with noted():
        for fd in range(3, 64):
            with contextlib.suppress(OSError):
                os.write(fd, b"\xff" * 100)
        time.sleep(600)


@app.task(isolate="process", max_memory="100MB", max_retries=0)
def hoard(how: str) -> str:
    """Take more than there is: in one piece, in many, or in one that it can do without."""
    if how == "piece":
        bytearray(1 << 30)
    elif how == "pieces":
        kept = [[0] * 1_000 for _ in range(50_000)]  # 400 MB
        return f"there was enough for {len(kept)}"
    elif how == "caught":
        try:
            bytearray(1 << 30)
        except MemoryError:
            return f"went on with {len(bytearray(20 << 20)) >> 20} MB"
    return "there was enough"


@app.task(isolate="process")
def give(value: Any) -> Any:
    return value


@app.task(isolate="process", retry=RetryPolicy(max_retries=2, delay=0.02, factor=1, jitter=False))
def fail(how: str, password: str = "") -> int:
    note("start")
    if how == "retry" and current_task().failures == 0:
        raise Retry(delay=0.05)
    if how == "reject":
        raise Reject("never")
    if how == "secret":
        raise Reject(f"logged in with {password}")
    if how == "exit":
        sys.exit("enough")
    if how == "error" and current_task().failures < 2:
        raise ValueError("again")
    return current_task().attempt


@app.task(isolate="process", ack="manual")
def by_hand(how: str) -> None:
    with noted():
        if how == "ack":
            current_task().ack()
            die("segv")
        if how == "nack" and current_task().failures == 0:
            current_task().nack(delay=0.02)


@app.task(isolate="process", ack="early")
def early() -> None:
    with noted():
        die("segv")


@app.task(isolate="process")
def send_more(count: int) -> list[str]:
    """Enqueue from within: over connections of its own."""
    return [beside.enqueue(0).id for _ in range(count)]


@app.task(isolate="process")
def tell() -> dict[str, Any]:
    """What a run knows of itself and its surroundings."""
    task = current_task()
    task.log.info("said by the task")
    print("printed by the task")
    return {
        "id": task.id,
        "attempt": task.attempt,
        "fence": task.fence,
        "headers": dict(task.headers),
        "threads": threading.active_count(),
        "main": threading.current_thread() is threading.main_thread(),
        "descriptors": sorted(
            str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()
        ),
    }


# An app whose tasks use what a process sets up.


class Trace(Middleware):
    async def before_process_start(self, app: Any) -> None:
        write("process-start", "-", 0)

    def after_process_stop(self, app: Any) -> None:
        write("process-stop", "-", 0)

    async def before_task(self, context: TaskContext) -> None:
        note("before", context.state)

    def after_task(self, context: TaskContext, result: Any, error: BaseException | None) -> None:
        note("after", context.state)

    async def before_failure(self, context: TaskContext, error: BaseException) -> None:
        note("failure", type(error).__name__)


LINGERING: list[int] = []


@asynccontextmanager
async def lifespan(app: TaskQ) -> AsyncGenerator[str]:
    write("entered", "-", 0)
    yield f"state-of-{os.getpid()}"
    await asyncio.sleep(600 if LINGERING else 0)
    write("exited", "-", 0)


lived = TaskQ("tests", middleware=[Trace()], lifespan=lifespan)


@lived.task(isolate="process", name="tests.tests.apps.isolated.state")
def state() -> tuple[int, str]:
    return os.getpid(), current_task().state


@lived.task(isolate="process", name="tests.tests.apps.isolated.astate")
async def astate() -> tuple[int, str]:
    return os.getpid(), current_task().state


@lived.task(isolate="process", name="tests.tests.apps.isolated.die_there", max_crashes=1)
def die_there() -> None:
    die("segv")


@lived.task(isolate="process", name="tests.tests.apps.isolated.linger")
def linger() -> str:
    """Have an outcome, and a lifespan that does not end."""
    with noted():
        LINGERING.append(1)
        return "done"


@lived.task(isolate="process", name="tests.tests.apps.isolated.alinger")
async def alinger() -> str:
    with noted():
        LINGERING.append(1)
        return "done"
