"""Who says how safe a call is to be, and what that comes to."""

from __future__ import annotations

from typing import Any

import pytest

from taskq import TaskQ
from taskq.config import AppConfig, from_environment
from taskq.durability import Needs, check_durability, needs_of, strongest
from taskq.errors import ConfigurationError


def work() -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("durability", "needs"),
    [
        ("relaxed", None),
        ("fsync", Needs(fsync=True)),
        ("replicated:1", Needs(replicas=1)),
        ("replicated:12", Needs(replicas=12)),
    ],
)
def test_what_each_waits_for(durability: str, needs: Needs | None) -> None:
    assert needs_of(check_durability(durability)) == needs
    assert needs is None or str(needs) == durability


@pytest.mark.parametrize(
    "durability",
    ["", "Relaxed", "fsync ", "always", "replicated", "replicated:", "replicated:0", "replicated:-1", "replicated:01",
     "replicated:1000", "replicated:two", "replicated:1\n", 1, True, None, ("fsync",)],
)  # fmt: skip
def test_anything_else_is_refused_by_whoever_is_given_it(durability: Any) -> None:
    with pytest.raises(ValueError, match="durability is 'relaxed', 'fsync', or 'replicated:N'"):
        check_durability(durability)


def test_app_task_and_call_refuse_what_cannot_be_meant() -> None:
    app = TaskQ("shop")
    with pytest.raises(ValueError, match="durability='always'"):
        TaskQ("shop", durability="always")
    with pytest.raises(ConfigurationError, match="durability='always'"):
        app.task(name="a", durability="always")(work)
    with pytest.raises(ValueError, match="durability='always'"):
        app.task(work, name="b").using(durability="always")
    with pytest.raises(
        ConfigurationError, match=r"TASKQ_DURABILITY='always' cannot be read: .* 'replicated:1'"
    ):
        from_environment(AppConfig(), {"TASKQ_DURABILITY": "always"})


def test_the_call_counts_more_than_the_task_and_the_task_more_than_the_app() -> None:
    relaxed, safe = TaskQ("shop"), TaskQ("shop", durability="fsync")

    plain, own = (relaxed.task(work, name="a"), relaxed.task(work, name="b", durability="replicated:2"))
    assert (plain.needs, own.needs) == (None, Needs(replicas=2))
    assert own.using(durability="relaxed").needs is None
    assert own.using(priority=9).needs == Needs(replicas=2)
    assert plain.using(durability="fsync").using(delay=1).needs == Needs(fsync=True)

    assert safe.task(work, name="a").needs == Needs(fsync=True)
    assert safe.task(work, name="b", durability="relaxed").needs is None
    assert safe.named("of.another.program").needs == Needs(fsync=True)
    assert relaxed.named("b").needs == Needs(replicas=2)


def test_the_environment_counts_more_than_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_DURABILITY", "replicated:3")
    app = TaskQ("shop", durability="fsync")
    assert app.task(work, name="a").needs == Needs(replicas=3)
    assert app.task(work, name="b", durability="fsync").needs == Needs(fsync=True)


def test_what_is_sent_together_waits_for_all_that_any_of_it_needs() -> None:
    assert strongest([]) is None
    assert strongest([None, None]) is None
    assert strongest([None, Needs(fsync=True), None]) == Needs(fsync=True)
    both = strongest([Needs(replicas=1), Needs(fsync=True), Needs(replicas=2)])
    assert both == Needs(fsync=True, replicas=2)
    assert str(both) == "fsync and replicated:2"
