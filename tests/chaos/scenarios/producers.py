"""What befalls those who enqueue: commands and replies get lost."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.checker import Complaint, Findings
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.proxy import Fate, at_random


class EnqueueCut(Scenario):
    """T07: of three enqueues the reply of one gets lost, and of ten the command of one.

    One producer is impatient, so that its calls raise `EnqueueUnknown`, and repeats them by its `.retry()`; another one
    leaves the repeats to taskq.
    """

    id = "T07"
    fault = "connections cut at `enqueue`: 30 % after, 10 % before the server had it"
    seconds = 12.0
    control = "new_id_at_each_repeat"
    shows = ("unexpected",)

    def play(self, stage: Stage) -> None:
        odds = {"enqueue": {Fate.LOSE_REPLY: 0.3, Fate.LOSE_COMMAND: 0.1}}
        self.proxy = stage.proxy(at_random(odds, stage.rng), reset=True)
        stage.start_hosts(2)
        for patience in ("1ms", "30s"):
            stage.produce(rate=200, url=self.proxy.url, environ={"TASKQ_PATIENCE": patience}, args=[1])

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if self.proxy.lost[Fate.LOSE_REPLY] < 100:
            yield Complaint("idle", f"{self.proxy.lost[Fate.LOSE_REPLY]} replies were lost: it shows nothing")
        if found.unknown or found.rejected:
            yield Complaint("unknown", f"{found.unknown} stayed unknown, {found.rejected} were refused")
        if found.duplicates:
            yield Complaint("repeats", f"{found.duplicates} tasks ran again")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"replies_lost": str(self.proxy.lost[Fate.LOSE_REPLY])}
