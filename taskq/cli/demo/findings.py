"""What the demo found out, and what of it is not as it has to be."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from taskq.cli.trial.durations import Milliseconds


class Interrupted(msgspec.Struct, frozen=True):
    """A task that ran in the process that was killed."""

    id: str
    file: str
    again_in: int | None
    """The process that started it again; None if none has."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A dead letter as the server lists it."""

    id: str
    task: str | None
    attempts: int | None
    error: str | None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """All that the demo measured and counted."""

    server: str
    durable: bool
    processes: int
    concurrency: int
    accepted: int
    """Tasks whose `enqueue_many` returned a handle."""
    refused: int
    """Those that it returned an error for."""
    succeeded: int
    failed: int
    unknown: int
    """Accepted, and at the end the server knew nothing of them, or they had not run."""
    left: int
    """Tasks that still stand in some queue when all have ended."""
    runs: int
    """Starts, by the ledger."""
    stumbling: int
    """Tasks that were made to fail the first time."""
    retried: int
    """Those of them that ran again after they had failed."""
    killed: list[int]
    """Process ids; the last one died while it ran `interrupted`."""
    interrupted: list[Interrupted]
    redelivered: list[str]
    """Tasks that were started again without having failed, by the ledger."""
    hopeless: str
    """The task that is made to fail for good."""
    dead_letters: list[DeadLetter]
    enqueue_seconds: float
    seconds: float
    """From before the first enqueue until the last end was heard of."""
    plain_seconds: float
    """What the plain loop took."""
    rate: float
    """Tasks a second."""
    run_ms: Milliseconds
    end_to_end_ms: Milliseconds
    totals: dict[str, int]
    plain_totals: dict[str, int]
    digest: str
    """Of every fact of every file."""
    plain_digest: str

    @property
    def problems(self) -> list[str]:
        """Say what is wrong; nothing, if all is well."""
        return [*self._lost(), *self._differing(), *self._unshown()]

    def _lost(self) -> Iterator[str]:
        if self.refused:
            yield f"{self.refused} tasks were refused at the enqueue"
        if self.accepted != self.succeeded + self.failed:
            yield (
                f"LOST: {self.accepted} tasks were accepted, and {self.succeeded} succeeded + {self.failed} "
                f"failed; nothing is known of {self.unknown}"
            )
        if self.left:
            yield f"{self.left} tasks still stand in a queue after all have ended"

    def _differing(self) -> Iterator[str]:
        for name, plain in self.plain_totals.items():
            if self.totals.get(name) != plain:
                yield f"{name} differ: {self.totals.get(name)} with taskq, {plain} without"
        if self.digest != self.plain_digest:
            yield f"facts of some file differ: digest {self.digest} with taskq, {self.plain_digest} without"

    def _unshown(self) -> Iterator[str]:
        if not self.plain_totals["files"]:
            yield "no .py file was found, so that nothing was shown"
        if self.failed != 1 or [letter.id for letter in self.dead_letters] != [self.hopeless]:
            yield (
                f"one task was to fail and become a dead letter: {self.failed} failed, "
                f"{len(self.dead_letters)} dead letters are there"
            )
        if self.retried != self.stumbling:
            yield f"{self.stumbling} tasks were made to fail the first time, {self.retried} of them ran again"
        if not self.interrupted:
            yield f"no process could be killed at its work, in {len(self.killed)} tries"
        if missing := [task.id for task in self.interrupted if task.again_in is None]:
            yield f"NOT redelivered after their process was killed: {', '.join(missing)}"
