"""What this process has claimed, from the claim to the settled outcome. No input or output here: the engine's books.

Bias: running a task twice is better than losing it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from taskq.broker.commands.working import BATCH, BATCH_BYTES, RELEASED, Answer, Kind
from taskq.worker.job import Job
from taskq.worker.ledger import Ledger
from taskq.worker.prefetch import Prefetch
from taskq.worker.timeouts import Timeouts
from taskq.worker.verdict import Verdict

log = logging.getLogger("taskq.worker")

PATIENCE_S = 0.050
"""What has waited this long unstarted is given back: another process may be idle."""

SHY_S = 1.0
"""How long a process claims nothing after it gave back a task that must run alone."""

NUDGE_S = 0.004
"""When the first of those that wait has waited this long, one more thread is woken for it."""


class Runner(Protocol):
    """Where jobs run: threads, or the event loop."""

    waiting: deque[Job]

    def offer(self, jobs: Sequence[Job]) -> None:
        """Take jobs over, and start what can start."""

    def nudge(self) -> None:
        """Something has waited for long: start one more if possible."""

    def running(self) -> list[Job]:
        """What runs now."""
        ...

    def interrupt(self, job: Job, error: type[BaseException]) -> None:
        """Raise `error` in a running job; nothing happens if it has just ended."""


Tell = Callable[[Job, Verdict], None]

_NOT_OURS = (Answer.LOST, Answer.GONE)

_DROPS_MESSAGE = frozenset({Kind.SUCCEEDED, Kind.CANCELLED, Kind.EXPIRED})
"""The ends after which the server has the message no more, but for a task with `keep_message`."""


class Holdings:
    """Jobs and their outcomes. All but `submit` is called by the engine's thread."""

    def __init__(self, prefetch: Prefetch, ledger: Ledger) -> None:
        self._prefetch, self._ledger = prefetch, ledger
        self._threads: Runner
        self._loop: Runner
        self._apart: Runner | None = None
        self._runners: tuple[Runner, ...]
        self._timeouts: Timeouts
        self._tell: Tell
        self._jobs: dict[str, Job] = {}
        self._outcomes: deque[tuple[Job, Verdict]] = deque()
        self._careful: Job | None = None
        self._careful_begun = False
        self._shy_until = 0.0
        """When (monotonic) it claims again after it gave a careful job back; 0 if it did not."""
        self.epoch = 0
        """Raised when everything unstarted is dropped: a job of an older epoch must not start."""
        self.revoked = 0
        """The supervisor's mark, as it stood when `epoch` was raised for it."""
        self.sent: list[tuple[Job, Verdict]] = []
        """Outcomes on their way; sent again unchanged until they are answered."""
        self.discard: Callable[[str], object] = _leave
        """Where the names of objects go that no message refers to any more; by default a sweep finds them."""

    def attach(
        self, threads: Runner, loop: Runner, timeouts: Timeouts, tell: Tell, apart: Runner | None = None
    ) -> None:
        """Give the runners, which report here, and what tells the app of failures without a run.

        Without `apart`, what is to have a process of its own runs as if it were not.
        """
        self._threads, self._loop, self._timeouts, self._tell = threads, loop, timeouts, tell
        self._apart = apart
        self._runners = (threads, loop) if apart is None else (threads, loop, apart)

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def outcomes_wait(self) -> bool:
        """True if an outcome has come that was not collected."""
        return bool(self._outcomes)

    @property
    def outcomes_press(self) -> bool:
        """True if the engine is to be woken for the outcomes that have come: half as many as the jobs that wait.

        To wake it takes the interpreter from the next job. While jobs wait, it wakes by itself within `NUDGE_S`.
        """
        return 2 * len(self._outcomes) >= len(self._threads.waiting) + len(self._loop.waiting)

    @property
    def jobs_wait(self) -> bool:
        """True if a job has not started for want of a thread, of room on the loop, or of being alone."""
        careful_waits = self._careful is not None and not self._careful_begun
        return careful_waits or any(runner.waiting for runner in self._runners)

    @property
    def empty(self) -> bool:
        """True if there is nothing left to run or to settle."""
        return not (self._jobs or self._outcomes or self.sent)

    def room(self) -> int:
        """How many tasks may be claimed; none while a careful one waits or runs."""
        if self._careful or (self._shy_until and time.monotonic() < self._shy_until):
            return 0
        self._shy_until = 0.0
        return self._prefetch.room(len(self._jobs))

    # -- in

    def take(self, jobs: Sequence[Job]) -> None:
        """Hold jobs and start them: a careful one once all others have ended, `ack="early"` once it is settled."""
        self._prefetch.took(jobs)
        ready: list[Job] = []
        for job in jobs:
            self._jobs[job.id] = job
            if job.careful:
                self._careful, self._careful_begun = job, False
            elif not job.outcome_given:
                ready.append(job)
        self.start(ready)

    def judge(self, verdicts: Sequence[tuple[Job, Verdict]]) -> None:
        """Hold jobs on which the verdict stands before they run."""
        for job, verdict in verdicts:
            self._jobs[job.id] = job
            self._outcomes.append((job, verdict))
            self._tell(job, verdict)

    def start(self, jobs: Sequence[Job]) -> None:
        """Hand jobs to their runners."""
        if self._apart is not None:
            jobs = self._start_apart(self._apart, jobs)
        if not jobs:
            return
        self._timeouts.expect(jobs)
        loop = [job for job in jobs if job.task.is_async]
        if loop:
            self._loop.offer(loop)
        if len(loop) < len(jobs):
            self._threads.offer([job for job in jobs if not job.task.is_async] if loop else jobs)

    @staticmethod
    def _start_apart(runner: Runner, jobs: Sequence[Job]) -> Sequence[Job]:
        """Hand over those that have processes of their own, whose time is kept elsewhere; gives the rest."""
        apart = [job for job in jobs if job.task.options.isolate]
        if not apart:
            return jobs
        runner.offer(apart)
        return [job for job in jobs if not job.task.options.isolate]

    def careful_turn(self) -> Job | None:
        """Give the careful job if it may start now: it runs while nothing else does."""
        return self._careful if not self._careful_begun and len(self._jobs) == 1 else None

    def begin_careful(self, job: Job, mine: bool) -> None:
        """Start the careful job whose start was noted at the server, or drop it if it is another's."""
        self._careful_begun = True
        if mine:
            self.start([job])
        else:
            self._careful = None
            del self._jobs[job.id]
            self._ledger.lost(job)

    # -- out

    def submit(self, job: Job, verdict: Verdict) -> None:
        """Take what became of a job. Called from any thread."""
        self._outcomes.append((job, verdict))

    def collect(self, process: str) -> None:
        """Put outcomes on their way, a batch at most, under the name of the present life."""
        sent, outcomes = self.sent, self._outcomes
        size = sum(len(verdict.outcome) for _, verdict in sent)
        ended = 0
        while outcomes and len(sent) < BATCH and size < BATCH_BYTES:
            job, verdict = outcomes.popleft()
            if self._jobs.get(job.id) is not job:
                continue  # given back, or dropped, before it ended
            if not verdict.still_runs:
                del self._jobs[job.id]
                if job is self._careful:
                    self._careful = None
                if verdict.kind is not RELEASED:
                    ended += 1
                if job.outcome_given:
                    continue
            if job.process == process:
                sent.append((job, verdict))
                size += len(verdict.outcome)
            else:
                self._ledger.lost(job)
        if ended:
            self._prefetch.freed(ended, time.monotonic())

    def settled(self, answers: Sequence[Answer]) -> None:
        """Note what the server said of `sent`; start what was to be settled at its start."""
        sent, self.sent = self.sent, []
        for (job, verdict), answer in zip(sent, answers, strict=True):
            if answer in _NOT_OURS:
                self._jobs.pop(job.id, None)
                if verdict.kind is not Kind.RELEASED:  # else it was returned for us already
                    self._ledger.lost(job)
            elif verdict.still_runs and not job.started:
                self.start([job])
            elif job.message.payload is not None:
                self._discard(job.message.payload.name, job, verdict, answer)
        self._ledger.settle(sent, answers)

    def _discard(self, name: str, job: Job, verdict: Verdict, answer: Answer) -> None:
        # "Already" may mean that another has given the task back in our name: then it runs again, and needs it.
        gone = answer is Answer.COMMITTED and verdict.kind in _DROPS_MESSAGE
        if gone and not job.task.options.keep_message:
            self.discard(name)

    # -- giving back

    def release_late(self, now: float) -> None:
        """Give back what has waited for long, and help along what has waited for a while."""
        for runner in self._runners:
            waiting = runner.waiting
            if not waiting:
                continue
            waited = now - waiting[0].received
            if waited > PATIENCE_S:
                self._release(runner, now - PATIENCE_S)
                self._prefetch.released()
            elif waited > NUDGE_S:
                runner.nudge()
        careful = self._careful
        if (
            careful
            and not self._careful_begun
            and len(self._jobs) > 1
            and now - careful.received > PATIENCE_S
        ):
            # What runs here may run for an hour. Others have a while to take it; then it is our turn again.
            self._outcomes.append((careful, Verdict(Kind.RELEASED)))
            self._careful = None
            self._shy_until = now + SHY_S

    def release_unstarted(self, now: float) -> None:
        """Give back whatever has not started."""
        for runner in self._runners:
            self._release(runner, now)
        if self._careful and not self._careful_begun:
            self._outcomes.append((self._careful, Verdict(Kind.RELEASED)))
            self._careful = None

    def release_all(self) -> int:
        """Give back what still runs, too: its outcome, should it come, is not ours to write. Gives how many."""
        self._outcomes.extend((job, Verdict(Kind.RELEASED)) for job in self._jobs.values())
        return len(self._jobs)

    def _release(self, runner: Runner, came_before: float) -> None:
        waiting = runner.waiting
        settled: list[Job] = []
        while True:
            try:
                if waiting[0].received > came_before:
                    break
                job = waiting.popleft()
            except IndexError:
                break
            if job.outcome_given:
                settled.append(job)  # at its start: nobody else will ever run it
            elif job.epoch == self.epoch:
                self._outcomes.append((job, Verdict(Kind.RELEASED)))
        if settled:
            waiting.extendleft(reversed(settled))
            runner.nudge()

    def bar_unstarted(self, why: str) -> list[Job]:
        """Let nothing start of what has not: runners refuse a job of an older epoch. Gives those jobs."""
        self.epoch += 1
        unstarted = [job for job in self._jobs.values() if not job.started and not job.outcome_given]
        if self._careful in unstarted:
            self._careful = None
        if unstarted:
            log.warning("dropped %d unstarted task(s): %s", len(unstarted), why)
        return unstarted

    def return_unstarted(self, why: str) -> None:
        """Give back what has not started, if it is still ours: the fence decides."""
        self._outcomes.extend((job, Verdict(Kind.RELEASED)) for job in self.bar_unstarted(why))

    def forget_unstarted(self, why: str) -> None:
        """Drop what has not started and is not ours any more."""
        for job in self.bar_unstarted(why):
            del self._jobs[job.id]

    def cancel(self, tasks: Mapping[str, int]) -> None:
        """End tasks (id → g) that somebody cancelled, if these very claims of them are ours."""
        for id, g in tasks.items():
            job = self._jobs.get(id)
            if job is not None and job.g == g and not job.cancelled:
                job.cancelled = True
                self._timeouts.cancel(job)


def _leave(_name: str) -> None:
    """Leave an object to the sweep."""
