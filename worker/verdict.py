"""The verdict on a job: which kind of end it came to, and what of it is stored."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field

import msgspec

from taskq.application import Application
from taskq.broker.commands.working import SUCCEEDED, Kind, Outcome7
from taskq.errors import (
    ArgumentMismatch,
    BadMessage,
    NotEncodable,
    PayloadMismatch,
    PayloadMissing,
    TaskTimeout,
)
from taskq.frame import FrameCodec
from taskq.payloads import NO_STORE, Aside, Payloads
from taskq.record import Outcome, RemoteError, seal_outcome
from taskq.retry import Reject, Retry
from taskq.veil import NO_VEIL, Veil, text_of
from taskq.worker.job import Job

_LONGEST_TEXT = 16_384
_KEPT = {"S": "s", "C": "c", "E": "e"}
_HOPELESS = (Reject, ArgumentMismatch, BadMessage, NotEncodable, PayloadMissing, PayloadMismatch)
_UNREADABLE_ENDS = "F"  # the state that `settle.lua` makes of Q


class HardTimeout(BaseException):
    """Raised in a task whose timeout is over. No Exception, so that `except Exception` does not swallow it."""


class CancelRequested(BaseException):
    """Raised in a thread whose task somebody cancelled; async tasks get asyncio's CancelledError."""


class Verdict(msgspec.Struct):
    """What `settle` is told of one job. `ms` is the record's TTL, or the delay of a retry."""

    kind: Kind
    ms: int = 0
    took: float = 0.0
    """Seconds of monotonic time that the run took."""
    outcome: bytes = b""
    error: BaseException | None = None
    still_runs: bool = False
    """Committed by hand, or at the start: the job goes on, and its end is not settled again."""
    aside: Aside | None = None
    """The result, if it goes to the store: before this is submitted."""

    def words(self, job: Job) -> Outcome7:
        """As `settle.lua` takes it."""
        kind = self.kind.letter
        if job.task.options.keep_message:
            kind = _KEPT.get(kind, kind)
        took_ms = round(self.took * 1_000)
        return (job.id, job.g, kind, self.ms, job.task.name, took_ms, self.outcome)


def remote_error(error: BaseException, veil: Veil = NO_VEIL, longest: int = _LONGEST_TEXT) -> RemoteError:
    """Give an exception as text, without what `veil` hides, and without its middle if it is above `longest`."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    frames = "".join(traceback.format_exception(error)) if error.__traceback__ else ""
    return RemoteError(name, _cut(veil.over(text_of(error)), longest), _cut(veil.over(frames), longest))


def _cut(text: str, longest: int) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"


@dataclass(frozen=True, slots=True)
class Judge:
    """Turns what a run gave into a verdict. TTLs are those of the app, in ms, where the task has none."""

    result_ttl_ms: int
    dedupe_ttl_ms: int
    dead_ttl_ms: int
    frames: FrameCodec = field(default_factory=FrameCodec)
    """What signs outcomes, and bounds them."""
    secrets: list[str] | None = None
    """What outcomes with a result say of names that are not shown."""
    payloads: Payloads = NO_STORE
    """What takes large results to the store, and brings arguments back from there."""

    def result_ttl(self, job: Job) -> int:
        """How long the result of a job is kept, 0 for not at all."""
        if job.message.result_ttl_ms is not None:
            return job.message.result_ttl_ms
        own = job.task.options.result_ttl_ms
        return self.result_ttl_ms if own is None else own

    def ttl(self, job: Job) -> int:
        """How long the record stays: its id must be known as long as a repeat may come."""
        return max(self.result_ttl(job), self.dedupe_ttl_ms)

    def succeeded(self, job: Job, result: bytes | None, started_ms: int, took: float) -> Verdict:
        """It returned; `result` is the codec's bytes.

        Raises:
            PayloadTooLarge: they are more than may travel.
        """
        ttl = self.result_ttl(job)
        if ttl == 0:
            result = None
        outcome = Outcome(
            started_ms, took * 1_000, job.attempt, result, None, job.task.name, job.process, self.secrets
        )
        aside, options = None, job.task.options
        if result is not None and self.payloads.is_large(len(result), options.offload_over):
            aside = self.payloads.aside(result, "outcome", job.id, options.compress_over)
            outcome.result, outcome.payload = None, aside.reference
        sealed = self._sealed(job, SUCCEEDED, outcome)
        return Verdict(SUCCEEDED, max(ttl, self.dedupe_ttl_ms), took, sealed, aside=aside)

    def raised(self, job: Job, error: BaseException, started_ms: int, took: float) -> Verdict:
        """It raised: again later, or failed for good. What cannot be mended by running it again is not retried."""
        if job.cancelled and not isinstance(error, Exception):
            return self.ended(job, Kind.CANCELLED, None, started_ms, took)
        if isinstance(error, HardTimeout):
            error = _timeout(job, error)
        delay = None
        if not isinstance(error, _HOPELESS):
            delay = job.task.options.retry.next_delay_ms(error, job.failures, job.message.max_retries)
        if delay is not None:
            return Verdict(Kind.RETRY, delay, took, error=error)
        if isinstance(error, Retry) and error.__cause__ is not None:
            error = error.__cause__
        return self.ended(job, Kind.FAILED, error, started_ms, took)

    def ended(
        self, job: Job, kind: Kind, error: BaseException | None = None, started_ms: int = 0, took: float = 0.0
    ) -> Verdict:
        """It came to an end without a result: failed, cancelled or expired."""
        text = None if error is None else remote_error(error, job.veil(), self.frames.longest_text)
        outcome = Outcome(started_ms, took * 1_000, job.attempt, None, text, job.task.name, job.process)
        ttl = self.dead_ttl_ms if kind is Kind.FAILED else self.ttl(job)
        return Verdict(kind, ttl, took, self._sealed(job, kind, outcome), error)

    def _sealed(self, job: Job, kind: Kind, outcome: Outcome) -> bytes:
        compress_over = job.task.options.compress_over
        return seal_outcome(outcome, job.id, job.g, kind.letter, self.frames, compress_over)

    def unreadable(self, id: str, g: int, error: Exception) -> Outcome7:
        """What no worker of this release can read is dead-lettered and quarantined."""
        outcome = Outcome(error=remote_error(error, longest=self.frames.longest_text))
        sealed = seal_outcome(outcome, id, g, _UNREADABLE_ENDS, self.frames)
        return (id, g, Kind.UNREADABLE.letter, self.dead_ttl_ms, "-", 0, sealed)


def judge_of(app: Application) -> Judge:
    """Make the judge of an app's workers."""
    config = app.config
    ttls = config.result_ttl_ms, config.remember_ms, config.dead_ttl_ms
    return Judge(*ttls, app.frames, config.redaction.own or None, app.payloads)


def _timeout(job: Job, error: HardTimeout) -> TaskTimeout:
    seconds = (job.hard_ms or 0) / 1_000
    late = TaskTimeout(f"the task did not end within its timeout of {seconds:g} s")
    return late.with_traceback(error.__traceback__)
