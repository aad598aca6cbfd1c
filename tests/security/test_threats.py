"""threats.toml against the tests that there are; and the threat that takes no server: names that would be more."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from taskq import TaskQ
from taskq.errors import BadName
from tests.cited import is_test
from tests.unit.wire import WiredApp

THREATS: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("threats.toml").read_text("utf-8"))[
    "threat"
]


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat["name"][:60])
def test_a_threat_has_a_test_or_says_what_it_waits_for(threat: dict[str, Any]) -> None:
    assert threat.keys() <= {"name", "design", "tests", "missing"}
    assert bool(threat.get("tests")) != bool(threat.get("missing"))
    assert not threat.get("tests") or threat["design"]
    assert [test for test in threat.get("tests", ()) if not is_test(test)] == []


def test_every_threat_has_its_own_name() -> None:
    assert len({threat["name"] for threat in THREATS}) == len(THREATS) > 20


NAMES = [
    "",
    "a}b{",
    "a|b",
    "a b",
    "a*",
    "a\x00b",
    "a\nb",
    "../a",
    "é",
    "a/b",
    "x" * 10_000_000,
    "a\ud800",
    "a%s",
]
MAKERS: dict[str, Callable[[WiredApp, str], object]] = {
    "app": lambda _, name: TaskQ(name),
    "namespace": lambda _, name: TaskQ("shop", namespace=name),
    "queue": lambda app, name: app.named("mail.send", "default").using(queue=name),
    "id": lambda app, name: app.named("mail.send", "default").using(id=name),
    "task": lambda app, name: app.named(name, "default"),
}


@pytest.mark.parametrize("what", MAKERS)
def test_a_name_that_could_be_a_key_is_refused(what: str) -> None:
    for name in [*NAMES, "tq:dead"] if what not in ("id", "task") else NAMES:
        with pytest.raises(BadName) as refused:
            MAKERS[what](WiredApp(), name)
        assert len(str(refused.value)) < 500  # it is logged where a message has it


@pytest.mark.parametrize("key", ["a}b{", "tq:dead", "a|b\x00\n", "x" * 1_000_000, "é" * 40])
def test_a_unique_key_is_no_more_than_a_tail(key: str) -> None:
    app = WiredApp()
    app.named("mail.send", "default").using(key=key).enqueue()
    packed = app.wire.sent[0].options.split("|", 4)[4]

    assert packed.startswith("mail.send:")
    assert len(packed) < 100
    assert packed.isascii()
    assert not set(packed.removeprefix("mail.send:")) & set("{}|: \n\x00*")
