"""What befalls a queue that is bounded: more is enqueued than is worked off."""

from __future__ import annotations

from collections.abc import Iterator

from taskq.broker.commands import operating
from tests.chaos.checker import Complaint, Findings
from tests.chaos.ledger import read
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage
from tests.proxy import Fate, Words, names

MOST = 20
_GIVEN_BACK = 40
"""Above the bound there may be what processes had claimed and gave back, or lost with their lives: it was accepted."""

_READY = """
local ready = 0
for _, key in ipairs(KEYS) do ready = ready + redis.call('LLEN', key) end
return ready
"""


class QueueFull(Scenario):
    """T16b: two producers send three times what workers work off, and wait for room in the queue that they fill.

    Replies to them are lost, so that repeats come to a queue that is full by then; processes are killed, so that what
    was accepted comes back to it. New tasks never fill it beyond its bound, and nothing that was accepted is refused.
    """

    id = "T16b"
    fault = (
        f"3 × as much is enqueued as worked off, into a queue of {MOST}; replies are lost, processes killed"
    )
    seconds = 10.0
    control = "overfill_queues"
    shows = ("above",)

    def play(self, stage: Stage) -> None:
        keys = stage.keys
        stage.broker.call(operating.bound(keys, "default", "set", MOST))
        stage.start_hosts(2)

        def judge(words: Words) -> Fate:
            lost = names(words, "enqueue") and stage.rng.random() < 0.1
            return Fate.LOSE_REPLY if lost else Fate.PASS

        url = stage.proxy(judge).url
        for _ in range(2):
            stage.produce(rate=300, url=url, args=[100], using={"block_when_full": 20})
        stage.wait_starts(20)
        self.most = 0
        with stage.client() as client:
            lists = keys.lists("default")
            for round, _ in enumerate(stage.at_random(0.01, 0.03)):
                self.most = max(self.most, int(client.eval(_READY, len(lists), *lists)))
                if round % 80 == 79:
                    stage.kill_child(stage.rng.choice(stage.hosts))

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if refused := {entry.word for entry in read(stage.ledger) if entry.event == "reject"}:
            yield Complaint("refused", f"who waited heard {', '.join(refused)}")
        if self.most > MOST + _GIVEN_BACK:
            yield Complaint("above", f"{self.most} tasks were ready, of {MOST} that may be")
        if self.most < MOST:
            yield Complaint("idle", f"no more than {self.most} tasks were ever ready")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"ready": f"{self.most}/{MOST}"}
