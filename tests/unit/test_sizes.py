"""What is too large for a server is refused at both ends, and no command grows without bound."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from taskq import Reject, TaskQ
from taskq.broker.command import Command
from taskq.broker.commands.producing import Envelope
from taskq.broker.commands.working import BATCH_BYTES, Kind
from taskq.broker.namespace import Namespace
from taskq.broker.storing import store
from taskq.errors import ConfigurationError, PayloadTooLarge
from taskq.frame import LARGEST, FrameCodec
from taskq.message import Message
from taskq.sizes import to_bytes
from taskq.worker.holdings import Holdings
from taskq.worker.job import Gauge, Job
from taskq.worker.ledger import Ledger
from taskq.worker.prefetch import Prefetch
from taskq.worker.timeouts import Timeouts
from taskq.worker.verdict import Judge, Verdict
from tests.unit.wire import WiredApp

HALF = bytes(LARGEST // 2)


class Nowhere:
    """A runner that runs nothing."""

    def __init__(self) -> None:
        self.waiting: deque[Job] = deque()

    def offer(self, jobs: Sequence[Job]) -> None: ...

    def nudge(self) -> None: ...

    def running(self) -> list[Job]:
        return []

    def interrupt(self, job: Job, error: type[BaseException]) -> None: ...

    def tell(self, job: Job, verdict: Verdict) -> None: ...


def job_of(id: str, g: int) -> Job:
    gauge = Gauge(TaskQ("tests").task(Nowhere().nudge, name="task"))
    return Job(id, g, Message("task", "default", 5, b"", b"", 0), gauge, 0, 0, False, 0, "p", 0, 0.0)


def test_arguments_that_are_too_large_are_refused() -> None:
    app, large = WiredApp(), bytes(LARGEST)

    for call in (app.named("shop.work").call(large), app.named("shop.work").call(data=large)):
        [sent] = app.enqueue_many([call])
        with pytest.raises(
            PayloadTooLarge, match=r"has 67,108,\d\d\d bytes, and max_payload allows 67,108,864"
        ):
            sent.get()
    assert app.wire.sent == []
    app.enqueue("shop.work", HALF)
    assert len(app.wire.sent) == 1


def test_a_result_that_is_too_large_is_refused() -> None:
    judge = Judge(600_000, 120_000, 600_000, FrameCodec(max_payload=10_000))
    job = job_of("id", 1)

    with pytest.raises(PayloadTooLarge, match=r"the outcome of task id has 10,0\d\d bytes"):
        judge.succeeded(job, bytes(10_000), 0, 0.0)
    assert len(judge.succeeded(job, bytes(9_000), 0, 0.0).outcome) > 9_000
    assert len(judge.raised(job, Reject("é" * 20_000), 0, 0.0).outcome) < 10_000


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (0, 0),
        (512, 512),
        ("512", 512),
        ("4KB", 4_096),
        ("1.5 kb", 1_536),
        ("16MB", 16 << 20),
        ("1GB", 1 << 30),
    ],
)
def test_sizes_are_read_as_people_write_them(text: int | str, size: int) -> None:
    assert to_bytes(text) == size


@pytest.mark.parametrize("text", ["", "4 KiB", "-1", -1, "4K", "KB", "ten", True, 1.5, None])
def test_what_is_no_size_is_refused(text: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="a size is a number of bytes, or text such as"):
        to_bytes(text)


def test_a_limit_that_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="give 1KB to 256MB"):
        TaskQ("shop", max_payload=10)
    with pytest.raises(ValueError, match=r"max_payload='much': .*a size is"):
        TaskQ("shop", max_payload="much")


def test_messages_travel_in_batches_of_bounded_size() -> None:
    namespace = Namespace("taskq", 1)
    steps = store(namespace, [Envelope(f"id{n}", "default:5", HALF) for n in range(5)])
    sizes: list[int] = []
    reply: Any = None
    with contextlib.suppress(StopIteration):
        while True:
            command: Command[Any] = steps.send(reply)
            if command.name != "enqueue":
                reply = command.decode([b"1", b"1"])
                continue
            count = sum(argument is HALF for argument in command.args)
            sizes.append(count)
            reply = command.decode([b"0", *[1] * count])

    assert sizes == [2, 2, 1]


def test_outcomes_travel_in_batches_of_bounded_size() -> None:
    nowhere, ledger = Nowhere(), Ledger(False)
    holdings = Holdings(Prefetch(8), ledger)
    holdings.attach(nowhere, nowhere, Timeouts(nowhere, nowhere), nowhere.tell)
    jobs = [job_of(f"id{n}", n) for n in range(1, 6)]
    holdings.take(jobs)
    for job in jobs:
        holdings.submit(job, Verdict(Kind.SUCCEEDED, outcome=b"x" * (BATCH_BYTES // 2)))

    holdings.collect("p")

    assert [job.id for job, _ in holdings.sent] == ["id1", "id2"]
