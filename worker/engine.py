"""The engine: the thread of a child that claims and settles, so that no user code can stall it.

Batches form by themselves: while one turn is on its way, outcomes gather for the next. No timers, no tuning.
Bias: running a task twice is better than losing it.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from taskq.broker.command import Command
from taskq.broker.commands import working
from taskq.broker.commands.working import Answer, Batch, ClaimRefused, Kind
from taskq.broker.conversation import pause_after
from taskq.broker.faults import DRIVER_ERRORS, Action, Fault
from taskq.broker.namespace import Namespace
from taskq.worker.channel import Channel
from taskq.worker.intake import Intake
from taskq.worker.job import Job
from taskq.worker.ledger import Ledger
from taskq.worker.life import Life
from taskq.worker.link import Link
from taskq.worker.prefetch import Prefetch
from taskq.worker.testimony import Testimony
from taskq.worker.timeouts import Timeouts
from taskq.worker.verdict import Verdict

log = logging.getLogger("taskq.worker")

PATIENCE_S = 0.050
"""What has waited this long unstarted is given back: another process may be idle."""

NUDGE_S = 0.004
"""When the first of those that wait has waited this long, one more thread is woken for it."""

_TICK_S = 1.0


class Runner(Protocol):
    """Where jobs run: threads, or the event loop."""

    waiting: deque[Job]

    def offer(self, jobs: Sequence[Job]) -> None:
        """Take jobs over, and start what can start."""

    def nudge(self) -> None:
        """Something has waited for long: start one more if possible."""

    def running(self) -> list[Job]:
        """What runs now."""

    def interrupt(self, job: Job, error: type[BaseException]) -> None:
        """Raise `error` in a running job; nothing happens if it has just ended."""


class Engine:
    """Owns what this process has claimed, from the claim to the settled outcome."""

    def __init__(
        self,
        *,
        link: Link,
        namespace: Namespace,
        life: Life,
        intake: Intake,
        prefetch: Prefetch,
        testimony: Testimony,
        channel: Channel,
        ledger: Ledger,
        grace_s: float,
        burst: bool,
    ) -> None:
        self._link, self._namespace, self._life = link, namespace, life
        self._intake, self._prefetch, self._testimony = intake, prefetch, testimony
        self._channel, self._ledger = channel, ledger
        self._grace_s, self._burst = grace_s, burst
        self._threads: Runner
        self._loop: Runner
        self._timeouts: Timeouts
        self.jobs: dict[str, Job] = {}
        """What is claimed and not settled, by id."""
        self.epoch = 0
        """Raised when everything unstarted is dropped: a job of an older epoch must not start."""
        self._outcomes: deque[tuple[Job, Verdict]] = deque()
        self._sent: list[tuple[Job, Verdict]] = []
        """On its way; sent again unchanged until it is answered."""
        self._chores: list[tuple[Command[Any], Callable[[Any], None]]] = []
        """Commands to be sent until they are answered, each with what its reply is given to."""
        self._careful: Job | None = None
        self._careful_begun = False
        self._asleep = False
        self._wake_reader, self._wake_writer = os.pipe()
        for fd in (self._wake_reader, self._wake_writer):
            os.set_blocking(fd, False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._woken)
        self._selector.register(channel, selectors.EVENT_READ, self._told)
        self._empty = False
        self._due = 0.0
        self._revoked = testimony.revoked()
        self._turned = time.monotonic()
        self.stopping = False
        """True once it claims no more."""
        self._deadline = 0.0
        self.ended = threading.Event()

    def attach(self, threads: Runner, loop: Runner, timeouts: Timeouts) -> None:
        """Give the engine its runners, which know the engine."""
        self._threads, self._loop, self._timeouts = threads, loop, timeouts

    # -- called from other threads

    def submit(self, job: Job, verdict: Verdict) -> None:
        """Take what became of a job; it is settled in the next turn."""
        self._outcomes.append((job, verdict))
        self._notify()

    def stop(self) -> None:
        """Claim no more, release what has not started, end when the rest has, at the latest after the grace."""
        self._deadline = time.monotonic() + self._grace_s
        self.stopping = True
        self._notify()

    def _notify(self) -> None:
        if self._asleep:
            self._asleep = False
            try:
                os.write(self._wake_writer, b"x")
            except BlockingIOError:
                pass  # full of wake-ups already

    # -- the thread

    def run(self, opened: Callable[[], None]) -> None:
        """Turn until stopped. `opened` is called once the process is registered."""
        tries = 0
        try:
            while not self._finished():
                try:
                    if self._link.blocking is None:
                        self._open()
                        opened()
                    self._turn()
                    tries = 0
                except DRIVER_ERRORS as error:
                    self._close()
                    if tries == 0:
                        log.warning("no answer from %s (%s); what runs goes on, trying again", self._link.where, error)
                    self._rest(pause_after(tries))
                    tries += 1
        finally:
            self._close()
            self.ended.set()

    def _open(self) -> None:
        self._link.open()
        assert self._link.blocking is not None
        self._selector.register(self._link.blocking, selectors.EVENT_READ, self._token)
        if not self._life.process:
            self._reborn()
        self._empty = False

    def _close(self) -> None:
        if self._link.blocking is not None:
            self._selector.unregister(self._link.blocking)
        self._link.close()

    def _reborn(self) -> None:
        if self._life.process:
            self._forget("this process was given up, and takes a new name")
        shard = self._life.keys.shard
        if not self._namespace.knows(shard):
            self._link.run(self._namespace.meet(shard))
        self._link.run(self._life.begin())
        self._channel.send(kind="born", process=self._life.process)

    def _finished(self) -> bool:
        return self.stopping and not (self._sent or self._outcomes or self._chores or self.jobs)

    def _turn(self) -> None:
        now = time.monotonic()
        self._testimony.stamp(self._ledger.settled)
        self._notice_gaps(now)
        if self.stopping:
            self._wind_down(now)
        self._release(now)
        self._timeouts.check(now)
        self._begin_careful()
        self._collect()
        room = 0 if self.stopping or self._careful else self._prefetch.room(len(self.jobs))
        if self._due and now >= self._due:
            self._empty, self._due = False, 0.0
        if self._empty and not self._sent:
            room = 0
        if self._sent or self._chores or room > 0 or self._life.must_beat(self._testimony, now):
            self._exchange(room, now)
        elif not self._finished():
            self._sleep(now)
        self._ledger.say()

    def _exchange(self, room: int, now: float) -> None:
        commands: list[Command[Any]] = []
        handlers: list[Callable[[Any], None]] = []
        if self._sent:
            commands.append(self._life.settle([verdict.words(job) for job, verdict in self._sent]))
            handlers.append(self._settled)
        if room > 0:
            commands.append(self._life.claim(room))
            handlers.append(self._claimed)
        if self._life.must_beat(self._testimony, now):
            commands.append(self._life.beat(now))
            handlers.append(self._beaten)
        chores = list(self._chores)
        commands += [command for command, _ in chores]
        handlers += [handle for _, handle in chores]
        replies = self._link.exchange(commands)
        self._chores.clear()
        for reply, handle in zip(replies, handlers, strict=True):
            if isinstance(reply, Fault):
                self._failed(reply)
            else:
                handle(reply)

    def _failed(self, fault: Fault) -> None:
        if fault.broken:
            raise ConnectionError(str(fault.error))
        if fault.action is Action.INIT:
            # The server lost its data: nothing that we hold exists any more; what runs ends as it can.
            self._namespace.lost(self._life.keys.shard)
            self._reborn()
        elif "TQHELD" in str(fault.error):
            log.error("%s", fault.error)
            self._reborn()
        else:
            log.error("%s", fault.error)
            self._rest(0.5)

    # -- outcomes

    def _collect(self) -> None:
        sent, outcomes = self._sent, self._outcomes
        while outcomes and len(sent) < working.BATCH:
            job, verdict = outcomes.popleft()
            if self.jobs.get(job.id) is not job:
                continue  # given back, or dropped, before it ended
            if not verdict.still_runs:
                del self.jobs[job.id]
                if job is self._careful:
                    self._careful = None
                if verdict.kind is not Kind.RELEASED:
                    self._prefetch.freed()
                if job.outcome_given:
                    continue
            if job.process == self._life.process:
                sent.append((job, verdict))
            else:
                self._ledger.lost(job)

    def _settled(self, answers: list[Answer]) -> None:
        sent, self._sent = self._sent, []
        for (job, verdict), answer in zip(sent, answers, strict=True):
            if answer in (Answer.LOST, Answer.GONE):
                self.jobs.pop(job.id, None)
                self._ledger.lost(job)
            elif verdict.still_runs and not job.started:
                self._start([job])
        self._ledger.settle(sent, answers)

    # -- claims

    def _claimed(self, batch: Batch | Exception) -> None:
        if isinstance(batch, ClaimRefused):
            self._life.doubt()
            return
        if isinstance(batch, Exception):
            raise batch
        self._life.claimed()
        now = time.monotonic()
        self._namespace.hear(batch.now_ms)
        self._due = now + (batch.due_ms + 1) / 1_000 if batch.due_ms is not None else 0.0
        self._empty = not batch.tasks
        if batch.tasks:
            self._take(batch, now)
        elif self._burst and not self.jobs and not self._outcomes:
            self.stop()

    def _take(self, batch: Batch, now: float) -> None:
        taken = self._intake.take(batch.tasks, self._life.process, self.epoch, now)
        for claimed, task in taken.unknown:
            self._chores.append((self._life.park(claimed.id, claimed.g, task), partial(_parked, claimed.id, task)))
        if taken.unreadable:
            self._chores.append((self._life.settle(taken.unreadable), _nothing))
        for job in taken.jobs:
            self.jobs[job.id] = job
        self._prefetch.took(taken.jobs)
        self._timeouts.expect(taken.jobs)
        for job, verdict in taken.verdicts:
            self.jobs[job.id] = job
            self._outcomes.append((job, verdict))
        ready = []
        for job in taken.jobs:
            if job.careful:
                self._careful, self._careful_begun = job, False
            elif job.task.options.ack == "early":
                job.outcome_given = True
                self._outcomes.append((job, self._intake.committed_at_start(job)))
            else:
                ready.append(job)
        self._start(ready)

    def _start(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        loop = [job for job in jobs if job.task.is_async]
        if loop:
            self._loop.offer(loop)
        if len(loop) < len(jobs):
            self._threads.offer([job for job in jobs if not job.task.is_async] if loop else jobs)

    def _begin_careful(self) -> None:
        job = self._careful
        if job is None or self._careful_begun or len(self.jobs) > 1 or self.stopping:
            return
        (mine,) = self._link.exchange([self._life.start(job.id, job.g)])
        self._careful_begun = True
        if mine is True:
            self._start([job])
        else:
            self._careful = None
            self.jobs.pop(job.id, None)
            self._ledger.lost(job)

    # -- giving back

    def _release(self, now: float) -> None:
        for runner in (self._threads, self._loop):
            waiting = runner.waiting
            if not waiting:
                continue
            waited = now - waiting[0].received
            if waited > PATIENCE_S:
                self._give_back(runner, now - PATIENCE_S)
                self._prefetch.released()
            elif waited > NUDGE_S:
                runner.nudge()

    def _give_back(self, runner: Runner, older_than: float) -> None:
        waiting = runner.waiting
        while True:
            try:
                if waiting[0].received > older_than:
                    return
                job = waiting.popleft()
            except IndexError:
                return
            if job.epoch == self.epoch:
                self._outcomes.append((job, Verdict(Kind.RELEASED)))

    def _drop(self, why: str) -> list[Job]:
        """Start nothing of what is unstarted: runners refuse what is of an older epoch. Gives what that was."""
        self.epoch += 1
        unstarted = [job for job in self.jobs.values() if not job.started]
        self._threads.waiting.clear()
        self._loop.waiting.clear()
        self._careful = None
        if unstarted:
            log.warning("dropped %d unstarted task(s): %s", len(unstarted), why)
        return unstarted

    def _forget(self, why: str) -> None:
        """Drop what is unstarted and is not ours any more."""
        for job in self._drop(why):
            del self.jobs[job.id]

    def _notice_gaps(self, now: float) -> None:
        gap, self._turned = now - self._turned, now
        if gap > self._life.lease_s / 2:
            # Paused, with the whole machine maybe: what we hold may be another's by now. The fence decides.
            held = self._drop(f"this process stood still for {gap:.1f} s")
            self._outcomes.extend((job, Verdict(Kind.RELEASED)) for job in held)
        if self._testimony.revoked() != self._revoked:
            self._revoked = self._testimony.revoked()
            self._forget("the supervisor returned them while this process did not answer")

    def _wind_down(self, now: float) -> None:
        for runner in (self._threads, self._loop):
            self._give_back(runner, now)
        if self._careful and not self._careful_begun:
            self._outcomes.append((self._careful, Verdict(Kind.RELEASED)))
            self._careful = None
        if now >= self._deadline and self.jobs:
            log.warning("the grace is over: %d running task(s) go back, uncharged", len(self.jobs))
            self._outcomes.extend((job, Verdict(Kind.RELEASED)) for job in self.jobs.values())

    # -- waiting

    def _beaten(self, beats: Any) -> None:
        (beat,) = beats
        if beat.alive:
            self._life.confirmed()
            self._cancel(beat.cancels)
        else:
            self._reborn()

    def _cancel(self, tasks: Mapping[str, int]) -> None:
        for id, g in tasks.items():
            job = self.jobs.get(id)
            if job is not None and job.g == g and not job.cancelled:  # this very claim, for the first time
                job.cancelled = True
                self._timeouts.cancel(job)

    def _rest(self, seconds: float) -> None:
        """Wait without a connection; outcomes gather."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._testimony.stamp(self._ledger.settled)
            self._timeouts.check(time.monotonic())
            time.sleep(min(left, 0.1))

    def _sleep(self, now: float) -> None:
        link = self._link
        assert link.blocking is not None
        idle = not self.stopping and not self._careful and self._prefetch.room(len(self.jobs)) > 0
        if idle and self._empty and not link.blocked:
            link.block()
        self._asleep = True
        if self._outcomes:  # came between the collecting and now
            self._asleep = False
            return
        timeout = self._timeouts.next_check(now, 0.1 if self._ledger.pending() else _TICK_S)
        if self._threads.waiting or self._loop.waiting:
            timeout = min(timeout, NUDGE_S)
        if self._due:
            timeout = min(timeout, max(0.0, self._due - now))
        if self.stopping:
            timeout = min(timeout, max(0.0, self._deadline - now))
        ready = [key.data for key, _ in self._selector.select(timeout)]
        self._asleep = False
        for handle in ready:
            handle()

    def _woken(self) -> None:
        os.read(self._wake_reader, 4096)

    def _told(self) -> None:
        for message in self._channel.messages():
            if message["kind"] == "stop":
                self.stop()
            elif message["kind"] == "cancel":
                self._cancel(message["tasks"])
            elif message["kind"] == "reaped" and message["process"] == self._life.process:
                self._reborn()
        if self._channel.closed:
            self._selector.unregister(self._channel)
            log.warning("the supervisor is gone: this process ends when what it runs has")
            self.stop()

    def _token(self) -> None:
        token = self._link.token()
        self._empty = False
        if token and not self.stopping and self._prefetch.room(len(self.jobs)) <= 0:
            # No slot is free: a claim of nothing leaves the token to a neighbour, if there is work.
            (reply,) = self._link.exchange([self._life.claim(0)])
            if isinstance(reply, Batch):
                self._life.claimed()
            self._empty = True


def _parked(id: str, task: str, answer: Any) -> None:
    if answer == "p":
        log.warning("task %s (%s) is unknown here and to every live worker: parked until one registers it", id, task)


def _nothing(_reply: Any) -> None:
    """Some replies tell nothing new."""
