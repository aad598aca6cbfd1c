"""The engine's turns on a real server, without a process around them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from taskq.broker.connect import parse_url
from taskq.record import State
from taskq.worker import testimony
from taskq.worker.channel import Channel
from taskq.worker.engine import Engine
from taskq.worker.holdings import Holdings
from taskq.worker.intake import Intake
from taskq.worker.job import Job
from taskq.worker.ledger import Ledger
from taskq.worker.life import Life
from taskq.worker.link import Link
from taskq.worker.prefetch import Prefetch
from taskq.worker.timeouts import Timeouts
from taskq.worker.verdict import Judge, Verdict
from tests.engine import HOUR_MS, LEASE_MS, Lab
from tests.servers import RedisServer
from tests.support import wait_until


class Nowhere:
    """A runner that runs nothing."""

    def __init__(self) -> None:
        self.waiting: deque[Job] = deque()

    def offer(self, jobs: Sequence[Job]) -> None:
        self.waiting.extend(jobs)

    def nudge(self) -> None: ...

    def running(self) -> list[Job]:
        return []

    def interrupt(self, job: Job, error: type[BaseException]) -> None: ...

    def tell(self, job: Job, verdict: Verdict) -> None: ...


def test_what_a_lost_reply_had_given_goes_back_where_no_slot_is_free(lab: Lab, server: RedisServer) -> None:
    lab.enqueue("a")
    life = Life(lab.keys, lease_ms=LEASE_MS, queues=["default"], weights=(), tasks={}, info=b"")
    link = Link(parse_url(server.url), lab.keys, ["default"])
    link.open()
    link.run(life.begin())
    link.exchange([life.claim(5)])  # nobody reads the reply: the next claim has the same seq
    link.close()
    nowhere, judge, ledger = Nowhere(), Judge(0, 0, HOUR_MS), Ledger(False)
    holdings, timeouts = Holdings(Prefetch(0), ledger), Timeouts(nowhere, nowhere)
    holdings.attach(nowhere, nowhere, timeouts, nowhere.tell)
    ours, theirs = Channel.pair()
    engine = Engine(
        link=link,
        namespace=lab.broker.namespace,
        life=life,
        intake=Intake({}, judge),
        holdings=holdings,
        timeouts=timeouts,
        testimony=testimony.Testimony(1),
        channel=theirs,
        ledger=ledger,
        grace_s=1,
        burst=False,
    )
    thread = threading.Thread(target=engine.run, args=(lambda: None, lambda: None))
    thread.start()
    try:
        wait_until(lambda: lab.state("a") is State.QUEUED)
        assert lab.ready() == ["a"]
    finally:
        engine.stop(time.monotonic())
        thread.join()
        for end in (ours, theirs):
            end.close()
