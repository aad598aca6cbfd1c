"""Each key that there is, with each wrong type and hostile bytes, under a real worker that has other work to do.

`tests/integration/test_hostile.py` holds the scripts to it, one after the other; here are the programs around them:
engine, supervisor and sweeper live, lose no neighbour, and do not run hot.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from taskq import TaskHandle
from taskq.broker import keys as keys_module
from taskq.broker.command import SCRIPTS
from tests.fuzz.live import KINDS, MOST_SCRIPTS, TASK, VICTIM, named, sent
from tests.integration.test_hostile import ADDED, OVERWRITTEN, OWN, SHARED
from tests.workers import Yard

NEW_LIFE = ("meta", "procs", "beats", "held")
"""Whose loss has a process take a new name, so that what it ran at that moment may run twice."""


def kinds_in_code() -> set[str]:
    """The first word of every key's name, as `keys.py` and the scripts have them."""
    python = Path(keys_module.__file__).read_text()
    lua = "".join(path.read_text() for path in Path(SCRIPTS).glob("*.lua"))
    found = re.findall(r"prefix(?: \\+ \"|\\}|\}| \+ \")([a-z]+)", python) + re.findall(
        r"P \.\. '([a-z]+)", lua
    )
    return {*found, "meta"}


def test_every_key_has_a_row_here_and_where_scripts_are_tried() -> None:
    tried = {tail.partition(":")[0] for tail in (*SHARED, *OWN)}

    assert len(kinds_in_code()) > 20
    assert {tail.partition(":")[0] for tail in KINDS} == kinds_in_code()
    assert tried == kinds_in_code()


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with Yard(tmp_path_factory.mktemp("keys")) as yard:
        yard.worker("quick", queues=("default", "side"))
        yield yard
        assert yard.workers[0].stop() == 0


@pytest.mark.parametrize("tail", KINDS)
def test_no_key_can_stop_a_worker_or_cost_a_neighbour(yard: Yard, tail: str) -> None:
    worker, keys = yard.workers[0], yard.app.broker.keys[0]
    children, started, before = worker.children(), time.monotonic(), sent(yard)
    if tail.startswith("wrong:"):
        yard.server.call("DEL", keys.prefix + tail)  # the agenda of a test before this one
    neighbours: list[TaskHandle[Any]] = []
    for how, change in [("added to", ADDED[KINDS[tail]]), *OVERWRITTEN.items()]:
        if (tail, how) in (("meta", "a hash"), ("meta", "added to")):
            continue  # that is a namespace of another format, or a fence of somebody's making
        key = keys.prefix + named(yard, worker, tail)
        if tail[:2] in ("t:", "b:", "x:", "u:"):
            set_up_victim(yard)
        if how != "added to":
            yard.server.call("DEL", key)
        for name, *rest in change:
            yard.server.call(name, key, *rest)
        if tail.endswith("{victim}"):
            yard.server.call("ZADD", keys.agenda, 0, f"t:{VICTIM}", 0, f"x:{VICTIM}")
        neighbours += yard.send_many("quick.tick", [("-",)] * 2, queue="side")
        time.sleep(0.03)  # for the worker to look at it: another comes next

    assert yard.wait_ended(neighbours, timeout=25) == {"succeeded": len(neighbours)}
    counts = yard.ledger.counts()
    most = max(counts[handle.id] for handle in neighbours)
    assert most == 1 or tail.partition(":")[0] in NEW_LIFE
    assert worker.running()
    assert worker.children() == children, worker.tail()
    assert sent(yard) - before < MOST_SCRIPTS * (1 + time.monotonic() - started)
    if tail != "meta":
        yard.server.call("DEL", keys.prefix + named(yard, worker, tail))


def set_up_victim(yard: Yard) -> None:
    keys = yard.app.broker.keys[0]
    yard.server.call("DEL", *(f"{keys.prefix}{kind}:{VICTIM}" for kind in "tbx"), f"{keys.prefix}u:{TASK}:k")
    yard.send("quick.tick", id=VICTIM, delay="1h", expires="2h", key="k")
