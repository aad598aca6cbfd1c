"""Draining: worker processes empty a queue that was filled while it was paused."""

from __future__ import annotations

import time

from taskq.broker.client import Broker
from taskq.broker.command import text
from taskq.broker.commands import operating
from taskq.broker.commands.reading import read
from taskq.cli.bench.gauges import Gauges, Reading
from taskq.cli.bench.measured import Drain
from taskq.cli.trial.worker import Worker, WorkerFailed

QUEUE = "default"
_LOOK_S = 0.02
_SILENCE_S = 20.0
_USUAL = ("S", "L")
"""The kinds of outcomes, by settle.lua, of an undisturbed run: succeeded, and given back before the start."""


class Ends:
    """Counts the tasks of the namespace that have succeeded."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        (self._keys,) = broker.keys
        self._born = self.now_ms() // 60_000

    def now_ms(self) -> int:
        """Redis's clock."""
        seconds, micros = self._broker.call(read(self._keys, "TIME"))
        return int(seconds) * 1_000 + int(micros) // 1_000

    def count(self) -> int:
        """Give how many have succeeded so far.

        Raises:
            WorkerFailed: one has ended otherwise.
        """
        total = 0
        for minute in range(self._born, self.now_ms() // 60_000 + 1):
            told = self._broker.call(read(self._keys, "HGETALL", self._keys.stats(minute)))
            for label, count in zip(told[::2], told[1::2], strict=True):
                task, _, kind = text(label).rpartition("|")
                if kind not in _USUAL:
                    raise WorkerFailed(
                        f"{int(count)} of the run's tasks {task} did not succeed (kind {kind})"
                    )
                total += int(count) if kind == "S" else 0
        return total

    def wait_for(self, count: int, worker: Worker) -> None:
        """Return once that many have succeeded.

        Raises:
            WorkerFailed: the worker has ended, or nothing ends any more.
        """
        last, at = -1, time.monotonic()
        while (found := self.count()) < count:
            worker.check()
            if found != last:
                last, at = found, time.monotonic()
            elif time.monotonic() - at > _SILENCE_S:
                raise WorkerFailed(
                    f"no task has ended for {_SILENCE_S:g} s, and {count - found:,} still wait"
                )
            time.sleep(_LOOK_S)

    def last_ms(self) -> int:
        """When the last outcome was committed, by Redis's clock."""
        ((id, _),) = self._broker.call(read(self._keys, "XREVRANGE", self._keys.recent, "+", "-", "COUNT", 1))
        return int(text(id).partition("-")[0])


def drain(
    broker: Broker, gauges: Gauges, ends: Ends, worker: Worker, kind: str, processes: int, count: int
) -> tuple[Drain, Reading]:
    """Release the queue, whose `count` tasks wait, and see it emptied; gives the last reading, too."""
    (keys,) = broker.keys
    ended, before, began_ms = ends.count(), gauges.read(), ends.now_ms()
    broker.call(operating.resume(keys, QUEUE))
    ends.wait_for(ended + count, worker)
    after = gauges.read()
    seconds = max(1, ends.last_ms() - began_ms) / 1_000

    def share(before: float | None, after: float | None, of: int = 1) -> float | None:
        return None if before is None or after is None else (after - before) / seconds / of

    core = share(before.worker_cpu_s, after.worker_cpu_s, processes)
    redis_s = after.redis_cpu_s - before.redis_cpu_s
    found = Drain(
        kind=kind,
        processes=processes,
        tasks=count,
        seconds=seconds,
        per_s=count / seconds,
        worker_cpu_us_per_task=None if core is None else core * processes * seconds * 1e6 / count,
        core_share_per_process=core,
        cpu_wait_share_per_process=share(before.worker_wait_s, after.worker_wait_s, processes),
        redis_thread_share=redis_s / seconds,
        redis_wait_share=share(before.redis_wait_s, after.redis_wait_s),
        redis_cpu_us_per_task=redis_s * 1e6 / count,
        redis_script_us_per_task=(after.redis_script_us - before.redis_script_us) / count,
    )
    return found, after
