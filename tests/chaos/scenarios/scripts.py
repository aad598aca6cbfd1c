"""What befalls a server that answers, though not with what was asked for: NOSCRIPT, BUSY, LOADING."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import redis

from tests.chaos import app as tasks
from tests.chaos.checker import Complaint, Findings
from tests.chaos.scenario import Scenario
from tests.chaos.sending import send_many
from tests.chaos.stage import Stage
from tests.servers import RedisServer

BUSY_S = 1.5
LOOP = """
local function ms() local time = redis.call('TIME') return time[1] * 1000 + time[2] / 1000 end
local stop = ms() + ARGV[1]
while ms() < stop do end
"""
SLOW_TO_LOAD = ("--key-load-delay", "300", "--loading-process-events-interval-bytes", "1024")


class Scripts(Scenario):
    """T20: the server forgets its scripts every 50 ms, runs another's for 1.5 s, and takes its time to load its data.

    None of it may be taken for an answer to what was asked, or end anyone. Batches of 40 are stored whole.
    """

    id = "T20"
    fault = "SCRIPT FLUSH every 50 ms; a script that does not end; a restart with a slow load"
    tier = "nightly"  # its control stands still for long
    seconds = 10.0
    control = "load_scripts_once"
    shows = ("lost", "wedged")

    def server(self, folder: Path) -> RedisServer:
        return RedisServer("redis", folder, "--busy-reply-threshold", "200", *SLOW_TO_LOAD)

    def play(self, stage: Stage) -> None:
        self.told, self.batches = Counter[str](), list[int]()
        stage.steady(rate=200)
        stage.produce(rate=100, seconds=stage.seconds + 8)  # until all is over, however long the load takes
        before = set(stage.pids())
        end = time.monotonic() + stage.seconds / 2
        with stage.client() as client:
            while time.monotonic() < end:
                for _ in range(20):
                    client.script_flush()
                    time.sleep(0.05)
                with stage.sending():
                    self.batches.append(len(send_many(tasks.work, [(1,)] * 40)))
        with self.asking(stage), stage.client() as client:
            client.eval(LOOP, 0, str(round(BUSY_S * 1_000)))
            stage.note("back", "script")
            time.sleep(1.0)
            with stage.server_away():
                pass
        time.sleep(stage.seconds / 4)
        self.gone = len(before - set(stage.pids()))

    @contextlib.contextmanager
    def asking(self, stage: Stage) -> Generator[None]:
        """Ask the server how it is, all the time, and count its refusals."""
        over = threading.Event()

        def ask() -> None:
            with stage.client() as client:
                while not over.wait(0.05):
                    try:
                        client.get("a key")
                    except redis.BusyLoadingError:
                        self.told["LOADING"] += 1
                    except redis.RedisError as error:
                        self.told[str(error).split()[0]] += 1

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        for refusal in ("BUSY", "LOADING"):
            if not self.told[refusal]:
                yield Complaint("idle", f"the server never said {refusal}: it shows nothing")
        if self.gone:
            yield Complaint("exit", f"{self.gone} process(es) of the workers have ended")
        if max(found.resumed_s) > 5.0:
            yield Complaint(
                "wedged", f"tasks started {[round(s, 1) for s in found.resumed_s]} s after it went on"
            )
        if found.rejected or found.unknown or set(self.batches) != {40}:
            yield Complaint(
                "refused", f"{found.rejected} calls were refused; of batches, {self.batches} stored"
            )
        if found.duplicates:
            yield Complaint("repeats", f"{found.duplicates} tasks ran again, though nobody died")

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        return {
            "busy": str(self.told["BUSY"]),
            "loading": str(self.told["LOADING"]),
            "resumed": f"{max(found.resumed_s):.1f}s",
        }
