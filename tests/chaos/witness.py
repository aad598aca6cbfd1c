"""Writes down what the server said of each outcome, in the process that heard it. It looks, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from taskq.broker.commands.working import Answer
from taskq.worker.holdings import Holdings
from tests.chaos import ledger
from tests.chaos.patching import replace

Settled = Callable[[Holdings, Sequence[Answer]], None]


def attend() -> None:
    """Have the outcomes of this process written down from now on, unless it only lists the tasks, without a ledger."""
    if ledger.VARIABLE in os.environ:
        replace(Holdings, "settled", _witnessed)


def _witnessed(settled: Settled) -> Settled:
    def witnessed(holdings: Holdings, answers: Sequence[Answer]) -> None:
        for (job, verdict), answer in zip(holdings.sent, answers, strict=True):
            if answer is Answer.COMMITTED:
                ledger.write("commit", job.id, job.attempt, job.g, verdict.kind.letter)
            elif answer is Answer.LOST:
                ledger.write("refused", job.id, job.attempt, job.g, verdict.kind.letter)
        settled(holdings, answers)

    return witnessed
