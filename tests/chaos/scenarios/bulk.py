"""Very many tasks: all due at one instant, or for a long time on end."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil

from tests.chaos import app as tasks
from tests.chaos.checker import Complaint, Findings, percentile
from tests.chaos.scenario import Scenario
from tests.chaos.sending import send_many
from tests.chaos.stage import Stage
from tests.servers import RedisServer

SLOW_US = 2_000


class AllAtOnce(Scenario):
    """T22: 20,000 tasks are due at one instant, 80,000 at night, in four groups a millisecond apart.

    To file them must not hold up the server: what else is enqueued meanwhile, at a higher priority, starts as if
    nothing was. The groups come in their order; within one, and where processes have taken some ahead, there is none.
    """

    id = "T22"
    fault = "20,000 tasks due at one instant"
    seconds = 10.0
    control = "file_all_that_is_due"
    shows = ("held up",)

    def server(self, folder: Path) -> RedisServer:
        return RedisServer(
            "redis", folder, "--slowlog-log-slower-than", str(SLOW_US), "--slowlog-max-len", "4096"
        )

    def play(self, stage: Stage) -> None:
        stage.start_hosts(2)
        count = round(4_000 * stage.seconds) // 4
        ahead = 2.0 + count * 4 / 8_000
        first, due = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=ahead), time.monotonic() + ahead
        self.groups = dict[str, int]()
        with stage.sending():
            for group in (2, 0, 3, 1):  # in no order
                at = first + dt.timedelta(milliseconds=group)
                word = str(round((due + group / 1_000) * 1e9))
                ids = send_many(tasks.awork.using(eta=at), [(0,)] * count, due=word)
                self.groups |= dict.fromkeys(ids, group)
        self.in_time = time.monotonic() < due
        stage.server.call("SLOWLOG", "RESET")
        stage.produce(rate=40, seconds=stage.seconds + 2, using={"priority": 9}, args=[1])
        stage.wait_starts(4 * count, 60 + 10 * stage.seconds)
        slow = stage.server.call("SLOWLOG", "GET", -1)
        self.scripts = sorted(
            (us / 1_000 for _, _, us, words, *_ in slow if words[0] == b"EVALSHA"), reverse=True
        )

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        ranks: dict[int, list[int]] = {group: [] for group in range(4)}
        seen = set[str]()
        for entry in stage.entries():
            if entry.event == "start" and entry.id in self.groups and entry.id not in seen:
                ranks[self.groups[entry.id]].append(len(seen))
                seen.add(entry.id)
        self.waited = percentile(found.waited_s, 0.99)
        size = len(self.groups) // 4
        strays = sum(abs(rank // size - group) > 1 for group, some in ranks.items() for rank in some)
        middles = [median(some) for some in ranks.values()]
        if strays > len(self.groups) / 100 or middles != sorted(middles):
            yield Complaint(
                "disorder", f"{strays} of {len(self.groups)} came by more than a group too soon or late"
            )
        if self.third > 20.0:
            yield Complaint("held up", f"three scripts or more took over {self.third:.0f} ms")
        if self.waited > 1.0:
            yield Complaint("starved", f"of what else was enqueued, 1 % waited for over {self.waited:.1f} s")
        if not self.in_time:
            yield Complaint("idle", "they were due before all were stored: it shows nothing")

    @property
    def third(self) -> float:
        """The third slowest script, in ms: one or two may have lost the processor to others amid their work."""
        return self.scripts[2] if len(self.scripts) > 2 else SLOW_US / 1_000

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        late = max(found.late_s, default=0.0)
        return {
            "slowest_scripts": "/".join(f"{ms:.1f}" for ms in self.scripts[:3]) + "ms",
            "others_p99": f"{self.waited:.2f}s",
            "drained": f"{late:.1f}s",
        }


class Soak(Scenario):
    """T26: tasks that do nothing, and processes that are replaced all the time: 100,000 at night.

    What supervisors have in memory, threads and descriptors stays as it was once they had warmed up, and so do the
    server's connections. Too long for each commit: what grows has to grow for a while before it shows.
    """

    id = "T26"
    fault = "no-ops for over a minute; each process is replaced after 1,000 of them"
    tier = "nightly"
    seconds = 40.0
    control = "keep_the_dead_open"
    shows = ("descriptors",)

    def play(self, stage: Stage) -> None:
        stage.start_hosts(2, "--max-tasks", "1000")
        for _ in range(2):
            stage.produce(rate=650, args=[0])
        time.sleep(stage.seconds / 3)
        before = self.measure(stage)
        time.sleep(stage.seconds * 2 / 3)
        self.grown = {name: value - before[name] for name, value in self.measure(stage).items()}

    @staticmethod
    def measure(stage: Stage) -> dict[str, int]:
        """What supervisors have, and the server's connections: the least of five looks, for children come and go."""
        looks = list[dict[str, int]]()
        with stage.client() as client:
            for _ in range(5):
                supervisors = [psutil.Process(host.pid) for host in stage.hosts]
                looks.append(
                    {
                        "rss_kb": sum(one.memory_info().rss for one in supervisors) // 1_024,
                        "fds": sum(one.num_fds() for one in supervisors),
                        "threads": sum(one.num_threads() for one in supervisors),
                        "clients": int(client.info("clients")["connected_clients"]),
                    }
                )
                time.sleep(0.2)
        return {name: min(look[name] for look in looks) for name in looks[0]}

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        if self.grown["fds"] > 4 or self.grown["threads"] > 0:
            yield Complaint("descriptors", f"supervisors have more than before: {self.grown}")
        if self.grown["rss_kb"] > 4_096:
            yield Complaint("memory", f"supervisors have grown by {self.grown['rss_kb']} kB")
        if self.grown["clients"] > 8:
            yield Complaint("connections", f"{self.grown['clients']} more than before")
        pids = {entry.pid for entry in stage.entries() if entry.event == "start"}
        self.replaced = len(pids) - 4
        if self.replaced < 8:
            yield Complaint("idle", f"{self.replaced} processes were replaced: it shows nothing")
        if found.duplicates:
            yield Complaint("repeats", f"{found.duplicates} tasks ran again, though nobody died")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {"replaced": str(self.replaced), **{name: f"{by:+}" for name, by in self.grown.items()}}
