"""Unique keys: one living task a key, and a key that always comes free."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskq.broker.commands import operating
from taskq.broker.commands.producing import Envelope, Stored, options
from taskq.broker.commands.working import Kind
from taskq.record import State
from tests.engine import HOUR_MS, Lab, ids

pytestmark = pytest.mark.contract

KEY = "app.job:k"


def holder(lab: Lab) -> bytes | None:
    value: bytes | None = lab.redis("GET", f"{lab.keys.prefix}u:{KEY}")
    return value


@pytest.fixture
def held(lab: Lab) -> Lab:
    """A lab in which `a` holds the key."""
    lab.hello("p", "q")
    assert lab.enqueue("a", key=KEY) == [Stored("a", True)]
    assert holder(lab) == b"a"
    return lab


def test_a_second_task_of_a_key_is_the_first(held: Lab) -> None:
    before = held.snapshot()
    assert held.enqueue("b", key=KEY, delay_ms=HOUR_MS) == [Stored("a", False)]
    assert held.enqueue("c", key=KEY) == [Stored("a", False)]
    assert held.snapshot() == before


def test_another_key_is_another_task(held: Lab) -> None:
    assert held.enqueue("b", key="app.job:l") == [Stored("b", True)]
    assert held.enqueue("c", key="app.other:k") == [Stored("c", True)]


def test_a_key_twice_in_a_batch_is_held_by_the_first(lab: Lab) -> None:
    assert lab.enqueue("a", "b", key=KEY) == [Stored("a", True), Stored("a", False)]
    assert lab.ready() == ["a"]
    assert holder(lab) == b"a"


def test_a_key_is_held_in_every_state_of_a_living_task(held: Lab) -> None:
    def taken() -> bool:
        return held.enqueue("b", key=KEY) == [Stored("a", False)]

    for kind in (Kind.RELEASED, Kind.CRASHED, Kind.SUSPECT, Kind.RETRY):
        assert taken()
        tasks = held.claim("p").tasks
        assert taken()
        held.settle("p", tasks, kind, 0)
        assert taken()
    held.claim("p", 0)
    held.claim("p")
    held.reap_all("p")
    assert taken()
    held.park("q", held.claim("q").tasks[0], "app.job")
    assert taken()
    held.register("q", **{"app.job": "default"})
    assert taken()
    held.cancel("a")
    assert held.enqueue("b", key=KEY) == [Stored("b", True)]


def settled(kind: Kind) -> Callable[[Lab], None]:
    def end(lab: Lab) -> None:
        lab.settle("p", lab.claim("p").tasks, kind)

    return end


def cancelled_while_it_ran(kind: Kind) -> Callable[[Lab], None]:
    def end(lab: Lab) -> None:
        tasks = lab.claim("p").tasks
        lab.cancel("a")
        lab.settle("p", tasks, kind)

    return end


def cancelled_and_reaped(lab: Lab) -> None:
    lab.claim("p")
    lab.cancel("a")
    lab.reap_all("p")


def cancelled_while_parked(lab: Lab) -> None:
    lab.park("p", lab.claim("p").tasks[0], "app.job")
    lab.cancel("a")


def purged(lab: Lab) -> None:
    lab.call(operating.purge(lab.keys, "default", 5, 600_000))


ENDS: dict[str, Callable[[Lab], object]] = {
    **{kind.name.lower(): settled(kind) for kind in Kind if kind.value in "SFCEQ"},
    "cancelled in its list": lambda lab: lab.cancel("a"),
    "cancelled while parked": cancelled_while_parked,
    "cancelled while it ran, then released": cancelled_while_it_ran(Kind.RELEASED),
    "cancelled while it ran, then retried": cancelled_while_it_ran(Kind.RETRY),
    "cancelled while it ran, then reaped": cancelled_and_reaped,
    "purged": purged,
}


@pytest.mark.parametrize("end", ENDS)
def test_every_end_frees_the_key(held: Lab, end: str) -> None:
    ENDS[end](held)
    state = held.state("a")
    assert state is not None
    assert state.ended
    assert holder(held) is None
    assert held.names("x:*") == []
    assert held.enqueue("b", key=KEY) == [Stored("b", True)]


def test_expiry_frees_the_key(lab: Lab, jumping_clock: None) -> None:
    lab.hello("p")
    lab.enqueue("a", key=KEY, expires_in_ms=1_000)
    lab.pass_time(HOUR_MS)
    lab.claim("p")
    assert lab.state("a") is State.EXPIRED
    assert lab.names("[ux]:*") == []


def test_a_cancelled_scheduled_task_frees_its_key(lab: Lab) -> None:
    lab.enqueue("a", key=KEY, delay_ms=HOUR_MS)
    lab.cancel("a")
    assert lab.names("[ux]:*") == []


def test_a_key_that_is_kept_outlives_its_task(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", key=KEY, keep_ms=HOUR_MS)
    assert 0 < lab.ttl(f"u:{KEY}") <= HOUR_MS
    lab.settle("p", lab.claim("p").tasks)

    assert lab.enqueue("b", key=KEY) == [Stored("a", False)]
    lab.forget("a")
    assert lab.enqueue("b", key=KEY) == [Stored("a", False)]
    assert lab.names("x:*") == []

    lab.redis("DEL", f"{lab.keys.prefix}u:{KEY}")
    assert lab.enqueue("b", key=KEY) == [Stored("b", True)]


def test_a_task_whose_kept_key_is_over_leaves_the_next_holder_alone(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", key=KEY, keep_ms=HOUR_MS)
    lab.redis("DEL", f"{lab.keys.prefix}u:{KEY}")  # its time is over, and `a` still waits
    assert lab.enqueue("b", key=KEY) == [Stored("b", True)]
    tasks = lab.take("p")

    lab.settle("p", tasks[:1])
    assert holder(lab) == b"b"
    lab.settle("p", tasks[1:])
    assert holder(lab) is None


def test_a_key_whose_holder_has_vanished_is_taken_over(held: Lab) -> None:
    held.redis("DEL", held.keys.ready("default", 5))
    held.forget("a")
    assert held.enqueue("b", key=KEY) == [Stored("b", True)]
    assert holder(held) == b"b"


def test_a_known_id_takes_no_key(lab: Lab) -> None:
    lab.enqueue("a")
    assert lab.enqueue("a", key=KEY) == [Stored("a", False)]
    assert lab.names("[ux]:*") == []


def test_a_known_id_takes_no_key_within_one_batch(lab: Lab) -> None:
    batch = [Envelope("a", "default:5", b""), Envelope("a", "default:5", b"", options(key=KEY))]
    assert lab.store([*batch, Envelope("b", "default:5", b"", options(key=KEY))]) == [
        Stored("a", True), Stored("a", False), Stored("b", True),
    ]  # fmt: skip
    assert holder(lab) == b"b"


def test_a_message_that_is_refused_takes_no_key(lab: Lab) -> None:
    assert lab.enqueue("a", key=KEY, not_after_ms=1)[0].too_late
    assert lab.names("[ux]:*") == []


def test_the_first_enqueue_repeated_finds_its_own_task(held: Lab) -> None:
    before = held.snapshot()
    assert held.enqueue("a", key=KEY) == [Stored("a", False)]
    assert held.snapshot() == before


def test_who_holds_a_key_of_a_wrong_type_is_asked_no_more(lab: Lab) -> None:
    lab.redis("RPUSH", f"{lab.keys.prefix}u:{KEY}", "junk")
    lab.hello("p")
    assert lab.enqueue("a", key=KEY) == [Stored("a", True)]
    assert ids(lab.claim("p")) == ["a"]
