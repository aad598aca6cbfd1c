"""The engine's turns on a real server, without a process around them."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from taskq import TaskQ
from taskq.broker.command import Command
from taskq.broker.commands import operating
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
from taskq.worker.verdict import Judge
from tests.engine import HOUR_MS, LEASE_MS, Lab
from tests.jobs import FakeRunner
from tests.servers import RedisServer
from tests.support import wait_until
from tests.workers import steadily


class Endless(FakeRunner):
    """Starts what it is given, and ends nothing."""

    def offer(self, jobs: Sequence[Job]) -> None:
        super().offer(jobs)
        for _ in jobs:
            self.begin(time.monotonic())


class Rig:
    """An engine in a thread of this process. Its tasks are those of `app`, and do not end."""

    def __init__(
        self, lab: Lab, server: RedisServer, queues: Sequence[str], concurrency: int, *, burst: bool = False
    ) -> None:
        self.app = TaskQ("tests")
        self.app.use(lab.broker)
        self.work = self.app.task(lambda: None, name="tests.work")
        self.life = Life(lab.keys, lease_ms=LEASE_MS, queues=queues, weights=(), tasks={}, info=b"")
        self.link = Link(parse_url(server.url), lab.keys, queues)
        self.runner = Endless()
        self.testimony = testimony.Testimony(1)
        self.ours, self.theirs = Channel.pair()
        ledger, self.judge = Ledger(False), Judge(HOUR_MS, HOUR_MS, HOUR_MS)
        holdings, timeouts = Holdings(Prefetch(concurrency), ledger), Timeouts(self.runner, self.runner)
        holdings.attach(self.runner, self.runner, timeouts, lambda _job, _verdict: None)
        self.engine = Engine(
            link=self.link,
            namespace=lab.broker.namespace,
            life=self.life,
            intake=Intake(self.app.tasks, self.judge),
            holdings=holdings,
            timeouts=timeouts,
            testimony=self.testimony,
            channel=self.theirs,
            ledger=ledger,
            grace_s=1,
            burst=burst,
        )

    @contextmanager
    def running(self) -> Generator[None]:
        self.thread = threading.Thread(target=self.engine.run, args=(lambda: None, lambda: None))
        self.thread.start()
        try:
            yield
        finally:
            self.engine.stop(time.monotonic())
            self.thread.join()
            for end in (self.ours, self.theirs):
                end.close()

    def wait_idle(self) -> None:
        wait_until(lambda: self.link.followed, message="the engine to wait for a token")

    def store_silently(self, lab: Lab, queue: str, count: int) -> None:
        """Store tasks whose token is gone already."""
        lab.call(operating.pause(lab.keys, queue))
        for _ in range(count):
            self.work.using(queue=queue).enqueue()
        lab.redis("HSET", lab.keys.queues, queue, "on")
        assert lab.tokens(queue) == 0

    def acknowledge_one(self) -> None:
        """Settle one of its tasks that goes on, as its `ack()` does."""
        job = self.runner.now[0]
        verdict = self.judge.succeeded(job, None, 0, 0.0)
        job.outcome_given = verdict.still_runs = True
        self.engine.submit(job, verdict)

    def end_one(self) -> None:
        """End one of its tasks."""
        job = self.runner.now[0]
        self.runner.end(job, lambda: self.engine.submit(job, self.judge.succeeded(job, None, 0, 0.0)))

    def holds(self, *queues: str) -> bool:
        """True if it runs one task of each of these queues, and no other."""
        return sorted(job.message.queue for job in self.runner.now) == sorted(queues)


def test_what_a_lost_reply_had_given_goes_back_where_no_slot_is_free(lab: Lab, server: RedisServer) -> None:
    lab.enqueue("a")
    rig = Rig(lab, server, ["default"], 0)
    rig.link.open()
    rig.link.run(rig.life.begin())
    rig.link.exchange([rig.life.claim(5)])  # nobody reads the reply: the next claim has the same seq
    rig.link.close()
    with rig.running():
        wait_until(lambda: lab.state("a") is State.QUEUED)
        assert lab.ready() == ["a"]


def test_the_token_of_a_later_queue_is_left_to_a_neighbour_by_who_was_given_another(
    lab: Lab, server: RedisServer
) -> None:
    rig = Rig(lab, server, ["a", "b"], 1)
    with rig.running():
        rig.wait_idle()
        rig.store_silently(lab, "a", 2)
        rig.work.using(queue="b").enqueue()

        wait_until(lambda: rig.holds("a"))
        wait_until(lambda: lab.tokens("b") == 1, timeout=1)
        assert lab.tokens("a") == 1


def test_and_by_who_stops(lab: Lab, server: RedisServer) -> None:
    rig = Rig(lab, server, ["a", "b"], 2)
    with rig.running():
        rig.wait_idle()
        rig.work.using(queue="b").enqueue()
        wait_until(lambda: rig.holds("b") and rig.link.blocked)
        rig.engine.stop(time.monotonic() + 10)
        rig.store_silently(lab, "a", 2)
        rig.work.using(queue="b").enqueue()

        wait_until(lambda: not rig.link.blocked)
        wait_until(lambda: lab.tokens("b") == 1, timeout=1)
        rig.end_one()


def test_a_token_without_work_is_left_to_nobody(lab: Lab, server: RedisServer) -> None:
    rig = Rig(lab, server, ["a", "b"], 1)
    with rig.running():
        rig.wait_idle()
        rig.store_silently(lab, "a", 2)
        lab.redis("RPUSH", lab.keys.wake("b"), "1")

        wait_until(lambda: rig.holds("a"))
        steadily(lambda: lab.tokens("b") == 0, 0.2, "there is a token of b, and no work")


def test_a_burst_whose_claim_is_refused_at_its_end_looks_again_under_a_new_name_and_not_before(
    lab: Lab, server: RedisServer
) -> None:
    rig = Rig(lab, server, ["a"], 2, burst=True)
    handle = rig.work.using(queue="a").enqueue()
    with rig.running():
        wait_until(lambda: rig.holds("a"))
        rig.acknowledge_one()
        wait_until(lambda: handle.status() is State.SUCCEEDED)
        sent: list[str] = []
        exchange = rig.link.exchange

        def noting(commands: Sequence[Command[Any]]) -> list[Any]:
            sent.extend(command.name for command in commands)
            return exchange(commands)

        rig.link.exchange = noting  # type: ignore[method-assign]
        old = rig.life.process
        lab.reap_all(old)
        rig.end_one()

        rig.thread.join(5)
        assert not rig.thread.is_alive()
        assert rig.life.process != old
        # It asks, is refused, beats, hears that it was reaped, says hello, and asks again.
        assert 2 <= sent.count("claim") <= 4


def test_who_gave_back_what_a_neighbour_knows_lets_that_one_look_first(lab: Lab, server: RedisServer) -> None:
    lab.hello("neighbour")
    lab.register("neighbour", **{"elsewhere.work": "default"})
    rig = Rig(lab, server, ["default"], 1)
    with rig.running():
        rig.wait_idle()
        id = rig.app.enqueue("elsewhere.work").id
        for _ in range(5):  # one of them without a disturbance by the machine
            wait_until(lambda: lab.state(id) is State.SCHEDULED)
            rig.testimony.beat()  # as its supervisor does: it need not beat itself, and look anew after it
            due_in_ms = lab.agenda()[f"t:{id}"]
            time.sleep((due_in_ms + 15) / 1_000)
            if lab.take("neighbour"):
                return
    raise AssertionError("it came back to who does not know it, five times")


def test_what_comes_while_a_process_loses_its_name_is_not_late(lab: Lab, server: RedisServer) -> None:
    """The claim behind the token was refused, so the token is used up when it has a new name."""
    rig = Rig(lab, server, ["a"], 1)
    with rig.running():
        rig.wait_idle()
        lab.reap_all(rig.life.process)
        began = time.monotonic()
        rig.work.using(queue="a").enqueue()

        wait_until(lambda: rig.holds("a"), timeout=10)
        # Within a beat, a second. Without a token a process looks after 1.6 s at the earliest.
        assert time.monotonic() - began < rig.life.beat_s + 0.5
