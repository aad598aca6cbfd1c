"""The seq of a process's claims, of which one may wait behind a BLPOP while others are answered."""

from __future__ import annotations

from typing import Any

import pytest

from taskq.broker.command import Command
from taskq.broker.keys import Keys
from taskq.worker.life import Life


@pytest.fixture
def life() -> Life:
    return Life(Keys("n", 0), lease_ms=1_000, queues=["default"], weights=(), tasks={}, info=b"")


def seq(claim: Command[Any]) -> Any:
    return claim.args[1]


def test_each_answered_claim_is_followed_by_another(life: Life) -> None:
    assert seq(life.claim(5)) == seq(life.claim(5)) == 1
    life.claimed(gave=False)
    assert seq(life.claim(5)) == 2
    life.claimed(gave=True)
    assert seq(life.claim(5)) == 3


def test_an_empty_claim_leaves_the_seq_to_the_one_that_waits(life: Life) -> None:
    assert seq(life.claim_behind()) == 1
    life.claimed(gave=False)

    assert seq(life.claim(5)) == 1
    assert life.woken()
    life.claimed(gave=False)
    assert seq(life.claim(5)) == 2


def test_what_another_claim_was_given_is_not_taken_twice(life: Life) -> None:
    life.claim_behind()
    life.claimed(gave=True)

    assert seq(life.claim(5)) == 2
    assert not life.woken()
    assert seq(life.claim_behind()) == 2
    assert life.woken()


def test_after_the_end_of_a_seq_nothing_waits_any_more(life: Life) -> None:
    life.claim_behind()
    assert seq(life.end_seq()) == 1
    life.claimed(gave=False)

    assert not life.woken()
    assert seq(life.claim(5)) == 2
