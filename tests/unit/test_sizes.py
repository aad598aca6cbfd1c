"""What is too large for a server is refused at both ends, and no command grows without bound."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from taskq import TaskQ
from taskq.broker.command import Command
from taskq.broker.commands.producing import Envelope
from taskq.broker.commands.working import BATCH_BYTES, Kind
from taskq.broker.namespace import Namespace
from taskq.broker.storing import store
from taskq.codec import CallCodec
from taskq.codec.values import LARGEST
from taskq.errors import NotEncodable
from taskq.message import Message
from taskq.worker.holdings import Holdings
from taskq.worker.job import Gauge, Job
from taskq.worker.ledger import Ledger
from taskq.worker.prefetch import Prefetch
from taskq.worker.timeouts import Timeouts
from taskq.worker.verdict import Verdict

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


def test_arguments_and_results_that_are_too_large_are_refused() -> None:
    codec, large = CallCodec(None), bytes(LARGEST)

    with pytest.raises(NotEncodable, match=r"args cannot travel: 67,108,8\d\d bytes, where 67,108,864 are"):
        codec.encode_call((large,), {})
    with pytest.raises(NotEncodable, match="kwargs cannot travel"):
        codec.encode_call((), {"data": large})
    with pytest.raises(NotEncodable, match="result cannot travel"):
        codec.encode_result(large)
    assert codec.decode_result(codec.encode_result(HALF)) == HALF


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
    gauge = Gauge(TaskQ("tests").task(nowhere.nudge, name="task"))
    message = Message("task", "default", 5, b"", b"", 0)
    jobs = [Job(f"id{n}", n, message, gauge, 0, 0, False, 0, "p", 0, 0.0) for n in range(1, 6)]
    holdings.take(jobs)
    for job in jobs:
        holdings.submit(job, Verdict(Kind.SUCCEEDED, outcome=b"x" * (BATCH_BYTES // 2)))

    holdings.collect("p")

    assert [job.id for job, _ in holdings.sent] == ["id1", "id2"]
