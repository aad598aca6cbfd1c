"""What a scenario is, and which there are. How to add one stands in the package's docstring."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from tests.chaos import scenarios
from tests.chaos.checker import Complaint, Findings
from tests.chaos.stage import Stage
from tests.servers import RedisServer

Tier = Literal["quick", "nightly"]


class Scenario:
    """One misfortune. An instance plays once, so it may keep what it needs to judge."""

    id: ClassVar[str]
    fault: ClassVar[str]
    """What befalls whom, in a few words: a line of the table in docs/torture.md."""
    tier: ClassVar[Tier] = "quick"
    """`nightly`: too long for each commit."""
    seconds: ClassVar[float] = 16.0
    """How long it tortures at scale 1; `Stage.seconds` is what it has."""
    control: ClassVar[str]
    """The module of tests/chaos/controls that breaks what this scenario is about."""
    shows: ClassVar[tuple[str, ...]]
    """The kinds of complaint of which at least one must come up with the control: any other proves nothing."""
    tolerates: ClassVar[tuple[str, ...]] = ()
    """Kinds of complaint of the checker that are in order here; the scenario's docstring says why."""

    def server(self, folder: Path) -> RedisServer:
        """Make the server that it plays on; a scenario that needs another one says so."""
        return RedisServer("redis", folder)

    def play(self, stage: Stage) -> None:
        """Set the stage, and do what is to be done: for `stage.seconds`. The rig waits for the end of all work."""
        raise NotImplementedError

    def judge(self, stage: Stage, found: Findings) -> Iterator[Complaint]:
        """Say what is wrong beyond what the checker finds in every run."""
        yield from ()

    def figures(self, stage: Stage, found: Findings) -> dict[str, str]:
        """Give what its line shows beyond the usual."""
        return {}


def all_scenarios() -> dict[str, type[Scenario]]:
    """Give all scenarios, in the order of their ids."""
    for module in pkgutil.iter_modules(scenarios.__path__, f"{scenarios.__name__}."):
        importlib.import_module(module.name)
    here = [
        kind for kind in Scenario.__subclasses__() if kind.__module__.startswith(f"{scenarios.__name__}.")
    ]
    return {kind.id: kind for kind in sorted(here, key=lambda kind: kind.id)}
