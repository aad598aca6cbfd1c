"""A sweeper that takes back what belongs to whoever's lease is over by the server's clock, whether he beats or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskq.broker.commands.reading import read
from taskq.worker.sweeper import Sweeper
from tests.chaos.patching import replace

StoodStill = Callable[[Sweeper, Mapping[str, int], float], dict[str, int]]


def apply() -> None:
    replace(Sweeper, "stood_still", lambda _: _over)


def _over(sweeper: Sweeper, beats: Mapping[str, int], _now: float) -> dict[str, int]:
    broker, keys = vars(sweeper)["_broker"], vars(sweeper)["_keys"]
    seconds, _ = broker.call(read(keys, "TIME"))
    over = broker.call(read(keys, "ZRANGE", keys.processes, "-inf", int(seconds) * 1_000, "BYSCORE"))
    return {name: beats[name] for name in map(bytes.decode, over) if name in beats}
