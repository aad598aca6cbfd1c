"""The engine: the thread of a child that claims and settles, so that no user code can stall it.

Batches form by themselves: while one turn is on its way, outcomes gather for the next. No timers, no tuning.
"""

from __future__ import annotations

import logging
import selectors
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from taskq.broker.command import Command
from taskq.broker.commands.working import Batch, Beat, ClaimRefused, released
from taskq.broker.conversation import pause_after
from taskq.broker.faults import DRIVER_ERRORS, Action, Fault, classify
from taskq.broker.namespace import Namespace
from taskq.errors import BackpressureError
from taskq.worker.channel import Channel
from taskq.worker.gaps import Gaps
from taskq.worker.holdings import NUDGE_S, Holdings
from taskq.worker.intake import Intake
from taskq.worker.job import Job
from taskq.worker.ledger import Ledger, say_parked
from taskq.worker.life import Life
from taskq.worker.link import Link
from taskq.worker.testimony import Testimony
from taskq.worker.timeouts import Timeouts
from taskq.worker.verdict import Verdict
from taskq.worker.waker import Waker

log = logging.getLogger("taskq.worker")

_LAST_WORDS_S = 2.0
"""How long after the grace the engine still tries to tell the server."""

_HEAD_START_S = 0.001
"""How long the engine stands back at most when an idle process was given a task."""

WAITED_OUT: tuple[type[Exception], ...] = (*DRIVER_ERRORS, BackpressureError)
"""What the engine outlives: the server is away, or takes no writes for want of replicas or of its disk."""

Handler = Callable[[Any], None]


class Engine:
    """Turns: settle what has ended, claim what there is room for, else wait for news."""

    def __init__(
        self,
        *,
        link: Link,
        namespace: Namespace,
        life: Life,
        intake: Intake,
        holdings: Holdings,
        timeouts: Timeouts,
        testimony: Testimony,
        channel: Channel,
        ledger: Ledger,
        grace_s: float,
        burst: bool,
    ) -> None:
        self._link, self._namespace, self._life = link, namespace, life
        self._intake, self._holdings, self._timeouts = intake, holdings, timeouts
        self._testimony, self._channel, self._ledger = testimony, channel, ledger
        self._grace_s, self._burst = grace_s, burst
        self._chores: list[tuple[Command[Any], Handler]] = []
        """Rare commands, sent until they are answered, each with what its reply is given to."""
        self._waker = Waker()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._waker, selectors.EVENT_READ, self._waker.drain)
        self._selector.register(channel, selectors.EVENT_READ, self._told)
        self._empty = False
        """True once a claim gave nothing, until there is a reason to look again."""
        self._due = 0.0
        """When (monotonic) the agenda's next entry falls due; 0 for never."""
        self._token_of = ""
        """The queue of a token that this process took, until a claim has come to that queue."""
        self._gaps = Gaps(life.lease_s, holdings, testimony)
        self._handed_over = False
        """True if an idle process was just given a task."""
        self._stopping = False
        self.ends_worker = False
        """True if it was stopped as the one that speaks for the worker, which ends."""
        self._deadline, self._released_all = 0.0, False

    # -- called from other threads

    def submit(self, job: Job, verdict: Verdict) -> None:
        """Take what became of a job; it is settled in the next turn."""
        self._holdings.submit(job, verdict)
        if self._waker.asleep and self._holdings.outcomes_press:
            self._waker.wake()

    def stop(self, deadline: float | None = None) -> None:
        """Claim no more, give back what has not started, end when the rest has, at the latest after the grace."""
        if not self._stopping:
            self._deadline = time.monotonic() + self._grace_s if deadline is None else deadline
            self._stopping = True
            self._waker.wake()

    # -- the thread

    def run(self, opened: Callable[[], None], stopped: Callable[[], None]) -> None:
        """Turn until all has ended. `opened` is called once registered, `stopped` once it claims no more."""
        tries, told = 0, None
        try:
            while not self._finished():
                if self._stopping:
                    stopped()
                try:
                    if self._link.blocking is None:
                        self._open()
                        opened()
                    self._turn()
                    if tries:
                        log.info("%s answers again", self._link.where)
                    tries, told = 0, None
                except WAITED_OUT as error:
                    self._close()
                    known = isinstance(error, BackpressureError)
                    fault = error if known else classify(error, self._link.where).error
                    if type(fault) is not told:
                        log.warning("%s; what runs goes on, trying again", fault)
                    told = type(fault)
                    self._rest(pause_after(tries))
                    tries += 1
        finally:
            self._ledger.say(at_once=True)
            self._close()

    def _open(self) -> None:
        self._link.open()
        assert self._link.blocking is not None
        self._selector.register(self._link.blocking, selectors.EVENT_READ, self._token)
        if self._life.process:
            while not self._ask(self._life.end_seq()) and not self._finished():
                pass  # until then, a claim that the lost connection left at the server may give a task to nobody
            self._empty = False
        else:
            self._begin_life()

    def _close(self) -> None:
        if self._link.blocking is not None:
            self._selector.unregister(self._link.blocking)
        self._link.close()
        self._token_of = ""

    def _begin_life(self) -> None:
        if self._life.process:
            self._holdings.forget_unstarted("this process was given up, and takes a new name")
        shard = self._life.keys.shard
        if not self._namespace.knows(shard):
            self._link.run(self._namespace.meet(shard))
        self._link.run(self._life.begin())
        self._channel.send(kind="born", process=self._life.process)
        self._empty = False  # the old name's claims were refused

    def _finished(self) -> bool:
        done = self._holdings.empty and not self._chores and not self._token_of
        return self._stopping and (done or time.monotonic() > self._deadline + _LAST_WORDS_S)

    def _turn(self) -> None:
        now = time.monotonic()
        holdings = self._holdings
        held = not holdings.empty
        self._testimony.stamp(self._ledger.settled)
        self._gaps.look(now)
        if self._stopping:
            self._wind_down(now)
        holdings.release_late(now)
        self._timeouts.check(now)
        self._begin_careful()
        handed_over, self._handed_over = self._handed_over, False
        if handed_over:
            # Its thread needs the interpreter first, and what it does may be over before there is more to say.
            self._doze(_HEAD_START_S)
        holdings.collect(self._life.process)
        if self._burst and held and holdings.empty:
            self._empty = (
                False  # what was settled before its end leaves no outcome, with which it would look again
            )
        if self._due and now >= self._due:
            self._empty, self._due = False, 0.0
        looks = not self._empty or (holdings.sent and not handed_over)
        room = holdings.room() if looks and not self._stopping else 0
        if holdings.sent or self._chores or room > 0 or self._life.must_beat(self._testimony, now):
            self._exchange(room, now)
        elif self._token_of:  # no slot is free, or it stops
            self._pass_on()
            self._empty = True
        elif not self._finished():
            self._sleep(now)
        self._ledger.say()

    def _exchange(self, room: int, now: float) -> None:
        asked: list[tuple[Command[Any], Handler]] = []
        if sent := self._holdings.sent:
            outcomes = [verdict.words(job) for job, verdict in sent]
            asked.append((self._life.settle(outcomes), self._holdings.settled))
        if room > 0:
            asked.append((self._life.claim(room), partial(self._looked, settles=bool(sent))))
        if self._life.must_beat(self._testimony, now):
            asked.append((self._life.beat(now), self._beaten))
        asked += self._chores
        replies = self._link.exchange([command for command, _ in asked])
        for reply, (command, handle) in zip(replies, asked, strict=True):
            if isinstance(reply, Fault):
                self._failed(reply)
                return  # what stands behind it is asked again: each command is idempotent
            handle(reply)
            self._chores = [chore for chore in self._chores if chore[0] is not command]
        if self._token_of:
            self._pass_on()

    def _pass_on(self) -> None:
        """Leave a token to a neighbour, if there is work: no claim of this process came to its queue."""
        if self._ask(self._life.pass_on(self._token_of)):
            self._token_of = ""

    def _ask(self, nothing: Command[Batch]) -> bool:
        """Send a claim of nothing; True if it gave nothing, and did not repeat one that gave something."""
        (reply,) = self._link.exchange([nothing])
        if isinstance(reply, Fault):
            self._failed(reply)
            return False
        self._claimed(reply, wanted=self._holdings.room() > 0)
        return not (isinstance(reply, Batch) and reply.tasks)

    def _failed(self, fault: Fault) -> None:
        if fault.broken:
            raise ConnectionError(str(fault.error))
        if isinstance(fault.error, BackpressureError):
            raise fault.error  # for want of replicas, or of its disk, it takes no write: that is waited out, too
        if fault.action is Action.INIT:
            # The server lost its data: nothing that we hold exists any more; what runs ends as it can.
            self._namespace.lost(self._life.keys.shard)
            self._begin_life()
        elif "TQHELD" in str(fault.error):
            log.error("%s", fault.error)
            self._begin_life()
        else:
            log.error("%s", fault.error)
            self._rest(0.5)

    # -- replies

    def _looked(self, batch: Batch | Exception, *, settles: bool) -> None:
        self._claimed(batch)
        if not isinstance(batch, Batch):
            return
        self._empty = not batch.tasks
        if self._token_of and batch.came_to(self._token_of):
            self._token_of = ""
        if self._burst and self._empty and not batch.left and self._holdings.empty:
            self._empty = not settles  # a settle whose script had to be loaded was done after the claim
            if not settles:
                self.stop()

    def _claimed(self, batch: Batch | Exception, *, wanted: bool = True) -> None:
        if isinstance(batch, ClaimRefused):
            self._life.doubt()
            self._empty = True  # a beat of our own tells what is the matter
            return
        if isinstance(batch, Exception):
            raise batch
        now = time.monotonic()
        self._namespace.hear(batch.now_ms)
        if batch.tasks:
            self._given(batch, wanted)
        else:
            self._life.claimed(False)
        due_ms = batch.due_ms
        self._due = 0.0 if due_ms is None else now + (due_ms + 1 + self._intake.yields_ms) / 1_000

    def _given(self, batch: Batch, wanted: bool) -> None:
        self._life.claimed(True)
        if wanted:
            self._take(batch)
        else:
            back = [released(claimed) for claimed in batch.tasks]
            self._chores.append((self._life.settle(back), _nothing))

    def _take(self, batch: Batch) -> None:
        life = self._life
        taken = self._intake.take(batch.tasks, life.process, self._holdings.epoch, time.monotonic())
        for claimed, task in taken.unknown:
            self._chores.append(
                (life.park(claimed.id, claimed.g, task), partial(say_parked, claimed.id, task))
            )
        if taken.unreadable:
            self._chores.append((life.settle(taken.unreadable), _nothing))
        self._holdings.judge(taken.verdicts)
        self._holdings.take(taken.jobs)

    def _begin_careful(self) -> None:
        job = None if self._stopping else self._holdings.careful_turn()
        if job is not None:
            (mine,) = self._link.exchange([self._life.start(job.id, job.g)])
            if isinstance(mine, Fault):
                self._failed(mine)
            else:
                self._holdings.begin_careful(job, mine)

    def _beaten(self, beats: list[Beat]) -> None:
        (beat,) = beats
        if beat.alive:
            self._life.confirmed()
            self._empty = False
            self._holdings.cancel(beat.cancels)
        else:
            self._begin_life()

    # -- what interrupts the routine

    def _wind_down(self, now: float) -> None:
        self._holdings.release_unstarted(now)
        if now >= self._deadline and not self._released_all:
            self._released_all = True
            if still := self._holdings.release_all():
                log.warning("the grace is over: %d running task(s) go back, uncharged", still)

    # -- waiting

    def _rest(self, seconds: float) -> None:
        """Wait without a connection; outcomes gather, and the supervisor is heard."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not self._finished():
            self._testimony.stamp(self._ledger.settled)
            self._timeouts.check(time.monotonic())
            self._listen(min(left, 0.1))

    def _sleep(self, now: float) -> None:
        holdings, link = self._holdings, self._link
        if self._empty and not self._stopping and holdings.room() > 0:
            behind = None
            if holdings.empty and not link.followed:  # a task may hold the interpreter, and this up for long
                behind = self._life.claim_behind()
                self._gaps.found = False
            link.block(behind)
        timeout = self._timeouts.next_check(now, self._life.beat_s)
        if holdings.jobs_wait:
            timeout = min(timeout, NUDGE_S)
        if self._due:
            timeout = min(timeout, max(0.0, self._due - now))
        if self._stopping:
            timeout = min(timeout, max(0.01, self._deadline - now))
        self._doze(timeout)

    def _doze(self, timeout: float) -> None:
        """Wait for news or an outcome."""
        self._waker.asleep = True
        if self._holdings.outcomes_wait:  # came between the collecting and now
            self._waker.asleep = False
        else:
            self._listen(timeout)

    def _listen(self, timeout: float) -> None:
        ready = [key.data for key, _ in self._selector.select(timeout)]
        self._waker.asleep = False
        for handle in ready:
            handle()

    def _told(self) -> None:
        for message in self._channel.messages():
            if message["kind"] == "stop":
                self.ends_worker = message["worker"]
                self.stop(message["deadline"])
            elif message["kind"] == "cancel":
                self._holdings.cancel(message["tasks"])
            elif message["kind"] == "reaped" and message["process"] == self._life.process:
                self._life.doubt()  # a beat of our own says the same, in its turn
        if self._channel.closed:
            self._selector.unregister(self._channel)
            if not self._stopping:
                log.warning("the supervisor is gone: this process ends when what it runs has")
            self.stop()

    def _token(self) -> None:
        self._gaps.look(time.monotonic())
        token, batch = self._link.token()
        self._empty, self._token_of = False, token or ""
        if self._life.woken() and isinstance(batch, Batch) and batch.tasks:
            wanted = not self._stopping and self._holdings.room() > 0 and not self._gaps.found
            if wanted and any(claimed.expires for claimed in batch.tasks):
                return  # the reply may have lain here for long: the next claim, a repeat, knows what time it is
            self._given(batch, wanted)
            self._handed_over = not self._chores
            self._empty = wanted and not batch.more and not self._burst  # what comes later leaves a token
            if batch.came_to(self._token_of):
                self._token_of = ""
        elif token is None:
            self._rest(0.5)  # a key of a wrong type, maybe: a sweep moves it aside


def _nothing(_reply: Any) -> None:
    """Some replies tell nothing new."""
