"""What befalls the server: killed, stopped, its connections cut."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.chaos.checker import Complaint, Findings
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Stage

BACK_S = 5.0
"""Within this after the server is there again, tasks start."""


class ServerKilled(Scenario):
    """T03: the server is killed again and again, and comes back on its own data after a while.

    No process of a worker may end for it. AOF everysec: a kill loses nothing that was acknowledged, for what the
    server has written is the kernel's; what a power cut loses is another scenario's subject.
    """

    id = "T03"
    fault = "SIGKILL of the server, back after up to 3 s"
    seconds = 20.0
    control = "exit_on_connection_error"
    shows = ("exit",)

    def play(self, stage: Stage) -> None:
        stage.steady()
        before = set(stage.pids())
        self.kills = 0
        end = time.monotonic() + stage.seconds
        while time.monotonic() < end:
            self.kills += 1
            with stage.server_away():
                time.sleep(stage.rng.uniform(0, 3))
            time.sleep(stage.rng.uniform(1, 2))
        self.gone = len(before - set(stage.pids()))

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if self.gone:
            yield Complaint("exit", f"{self.gone} process(es) of the workers have ended")
        if max(found.resumed_s, default=BACK_S) > BACK_S:
            yield Complaint(
                "wedged", f"tasks started {[round(s, 1) for s in found.resumed_s]} s after it was back"
            )

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"kills": str(self.kills), "resumed": f"{max(found.resumed_s, default=0):.1f}s"}
