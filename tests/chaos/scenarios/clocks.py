"""What befalls clocks: those of workers and producers are wrong, the server's jumps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.checker import Complaint, Findings, percentile
from tests.chaos.scenario import Scenario
from tests.chaos.shims import Shim, environ_of
from tests.chaos.stage import LEASE_S, Stage
from tests.servers import RedisServer

DAY_S, HOUR_S = 86_400, 3_600
BACK_S = 4.0
"""What a dead host ran is back within this: a lease and two sweeps, and a bit."""
SLOTS = 2 * 4


def _reaped(stage: Stage) -> bool:
    """True if a process that lives has heard that it was taken for dead."""
    return any("was given up by another worker" in host.path.read_text() for host in stage.hosts)


class ClocksWrong(Scenario):
    """T14: of the workers one is a day ahead, of the producers one is a day ahead and one a day behind.

    Each call has a delay and an expiry. What is due when, and what has expired, is the server's to say.
    """

    id = "T14"
    fault = "clocks of workers and producers a day ahead, or behind"
    seconds = 8.0
    control = "believe_own_clock"
    shows = ("expired", "refused")

    def play(self, stage: Stage) -> None:
        ahead, behind = self._clock(stage, DAY_S), self._clock(stage, -DAY_S)
        hosts = [stage.host(wait=False, environ=environ) for environ in (ahead, {})]
        for host in hosts:
            stage.wait_ready(host)
        for environ in (ahead, behind, {}):
            stage.produce(rate=80, environ=environ, using={"expires": "1m"}, delay_s=1.0)
        time.sleep(stage.seconds)

    @staticmethod
    def _clock(stage: Stage, seconds: float) -> dict[str, str]:
        folder = stage.folder / f"clock{seconds}"
        folder.mkdir()
        return environ_of(Shim("clock", folder, seconds))

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if expired := [id for id, state in stage.watcher.states.items() if state == "E"]:
            yield Complaint("expired", f"{len(expired)} long before their time, as {expired[:3]}")
        if found.rejected or found.unknown:
            yield Complaint("refused", f"{found.rejected} were refused, {found.unknown} stayed unknown")
        if found.duplicates or _reaped(stage):
            yield Complaint("reaped", f"{found.duplicates} ran again")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"late_p99": f"{percentile(found.late_s, 0.99) * 1e3:.0f}ms"}


class ServerClockJumps(Scenario):
    """T14b: the server's clock jumps by an hour, ahead and back, again and again; then back once more, and a host dies.

    With a jump ahead all leases are over, until the next beat: nobody who beats may be taken for dead for that. With
    one back they last for an hour: whoever dies then must be missed as soon as ever. Nothing here has a time of its
    own: what is due in a minute is due after a jump.
    """

    id = "T14b"
    fault = "the server's clock jumps by an hour, ahead and back; a host dies after a jump back"
    seconds = 10.0
    control = "reap_by_clock"
    shows = ("lost", "reaped")

    def server(self, folder: Path) -> RedisServer:
        self.clock = Shim("clock", folder.parent)
        return RedisServer("redis", folder, environ=environ_of(self.clock))

    def play(self, stage: Stage) -> None:
        environ = {
            "TASKQ_RESULT_TTL": "1d"
        }  # or a jump ends the time of what has ended, before it is looked at
        stage.start_hosts(2, environ=environ)
        for _ in range(2):
            stage.produce(rate=20, seconds=stage.seconds + 2 * LEASE_S, args=[200])
        stage.wait_starts(20)
        self.jumps = 0
        end = time.monotonic() + stage.seconds / 2
        while time.monotonic() < end or self.jumps % 4 != 1:
            self.clock.set((HOUR_S, 0, -HOUR_S, 0)[self.jumps % 4])
            self.jumps += 1
            time.sleep(stage.rng.uniform(0.3, 1.0))
        time.sleep(
            LEASE_S
        )  # until each has beaten, so that its lease lasts for an hour once the clock is back
        self.clock.set(0)
        stage.kill_host(stage.rng.choice(stage.hosts))
        stage.host(wait=False, environ=environ)
        time.sleep(BACK_S)

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if found.rejected or found.unknown:
            yield Complaint("refused", f"{found.rejected} were refused, {found.unknown} stayed unknown")
        if found.duplicates > SLOTS or _reaped(stage):
            yield Complaint("reaped", f"{found.duplicates} ran again, or somebody was given up")
        if not found.recovered:
            yield Complaint("idle", "nothing ran on the host that died: it shows nothing")
        if max(found.recovered, default=0.0) > BACK_S:
            yield Complaint("slow", f"what it ran was back after {max(found.recovered):.1f} s")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"jumps": str(self.jumps)}
