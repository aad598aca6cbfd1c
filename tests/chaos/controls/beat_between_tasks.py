"""A supervisor that beats for idle processes only, as one does whose tasks and beats have one loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskq.worker.custody import Custody
from taskq.worker.offspring import Offspring
from tests.chaos.patching import replace

Beat = Callable[[Custody, Sequence[Offspring]], bool]


def apply() -> None:
    replace(Custody, "beat", _between)


def _between(beat: Beat) -> Beat:
    def between(custody: Custody, children: Sequence[Offspring]) -> bool:
        busy = [child for child in children if child.testimony.running()]
        for child in busy:
            child.testimony.beat()  # or it would beat for itself
        return beat(custody, [child for child in children if child not in busy])

    return between
