"""wait: what has ended is given at once, and of the rest each client is told when it ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskq.broker.commands import operating, producing
from taskq.broker.commands.producing import End
from taskq.broker.commands.working import Kind
from taskq.errors import BadMessage
from taskq.record import Record, State
from tests.engine import HOUR_MS, Lab

pytestmark = pytest.mark.contract


def wait(lab: Lab, client: str, *ids: str) -> list[End]:
    ends: list[End] = lab.call(producing.wait(lab.keys, client, ids))
    return ends


def told(lab: Lab, client: str = "c1") -> list[str]:
    inbox = lab.keys.inbox(client)
    words: list[bytes] = lab.redis("LRANGE", inbox, 0, -1)
    lab.redis("DEL", inbox)
    return [producing.told(word)[0] for word in words]


def test_what_has_ended_is_given_at_once_and_nobody_is_told(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.settle("p", lab.claim("p").tasks)

    (end,) = wait(lab, "c1", "a")

    assert isinstance(end, Record)
    assert end.state is State.SUCCEEDED
    assert (told(lab), lab.redis("EXISTS", lab.keys.prefix + "waits")) == ([], 0)


def test_nothing_is_known_of_an_unknown_id(lab: Lab) -> None:
    assert wait(lab, "c1", "ghost") == [None]
    assert lab.names("waits") == []


def test_each_answer_stands_beside_its_id(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("ended")
    lab.settle("p", lab.claim("p").tasks)
    lab.enqueue("queued")
    lab.enqueue("later", delay_ms=HOUR_MS)
    kinds = [type(end) for end in wait(lab, "c1", "queued", "ghost", "ended", "later")]
    assert kinds == [State, type(None), Record, State]


def settle(kind: Kind) -> Callable[[Lab], None]:
    def end(lab: Lab) -> None:
        lab.settle("p", lab.claim("p").tasks, kind)

    return end


def cancel_running(lab: Lab) -> None:
    tasks = lab.claim("p").tasks
    lab.cancel("a")
    lab.settle("p", tasks, Kind.RELEASED)


def cancel_reaped(lab: Lab) -> None:
    lab.claim("p")
    lab.cancel("a")
    lab.reap_all("p")


def cancel_parked(lab: Lab) -> None:
    lab.park("p", lab.claim("p").tasks[0], "app.job")
    lab.cancel("a")


def expire(lab: Lab) -> None:
    lab.pass_time(2 * HOUR_MS)
    lab.claim("p")


ENDS: dict[str, Callable[[Lab], object]] = {
    **{kind.name.lower(): settle(kind) for kind in Kind if kind.value in "SFCEQ"},
    "cancelled in its list": lambda lab: lab.cancel("a"),
    "cancelled while parked": cancel_parked,
    "cancelled while it ran, then released": cancel_running,
    "cancelled while it ran, then reaped": cancel_reaped,
    "expired": expire,
    "purged": lambda lab: lab.call(operating.purge(lab.keys, "default", 5, 1_000)),
}


@pytest.mark.parametrize("end", ENDS)
def test_every_end_is_told_once(lab: Lab, jumping_clock: None, end: str) -> None:
    lab.hello("p")
    lab.enqueue("a", expires_in_ms=HOUR_MS)
    assert wait(lab, "c1", "a") == [State.QUEUED]
    assert wait(lab, "c1", "a") == [State.QUEUED]  # its reply was lost

    ENDS[end](lab)

    assert 0 < lab.ttl("inbox:c1") <= 60_000
    assert told(lab) == ["a"]
    assert lab.names("waits") == []
    ended = wait(lab, "c1", "a")[0]
    assert isinstance(ended, Record)
    assert ended.state.ended


@pytest.mark.parametrize("kind", [Kind.RETRY, Kind.RELEASED, Kind.CRASHED, Kind.SUSPECT])
def test_what_is_no_end_is_not_told(lab: Lab, kind: Kind) -> None:
    lab.hello("p")
    lab.enqueue("a")
    wait(lab, "c1", "a")
    lab.settle("p", lab.claim("p").tasks, kind, HOUR_MS)
    assert told(lab) == []
    lab.cancel("a")
    assert told(lab) == ["a"]


@pytest.mark.parametrize(("size", "comes"), [(10, True), (2_000, False)])
def test_a_small_record_comes_with_the_word_of_its_end(lab: Lab, size: int, comes: bool) -> None:
    lab.hello("p")
    lab.enqueue("a")
    wait(lab, "c1", "a")
    (task,) = lab.claim("p").tasks
    lab.report("p", [("a", task.g, "S", 600_000, "app.job", 0, b"x" * size)])

    (word,) = lab.redis("LRANGE", lab.keys.inbox("c1"), 0, -1)

    id, record = producing.told(word)
    assert id == "a"
    assert record == (wait(lab, "c1", "a")[0] if comes else None)


def test_a_word_that_is_no_end_is_only_a_hint_to_look() -> None:
    assert producing.told(b"a") == ("a", None)
    assert producing.told(b"a S|junk") == ("a", None)
    assert producing.told(b"a r|1|p|default:5|0|0|") == ("a", None)


def test_all_clients_that_wait_are_told(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b")
    wait(lab, "c1", "a", "b")
    wait(lab, "c10", "a")
    wait(lab, "c1", "a")
    wait(lab, "c2", "b")

    lab.settle("p", lab.take("p"))

    assert {client: sorted(told(lab, client)) for client in ("c1", "c10", "c2")} == {
        "c1": ["a", "b"], "c10": ["a"], "c2": ["b"],
    }  # fmt: skip


@pytest.mark.parametrize("record", [b"S|x|", b"S|1|\xff|\xc1", b"F|1|p", b"S|" + b"9" * 5_000 + b"|p|"])
def test_a_record_that_cannot_be_read_is_its_own_trouble(lab: Lab, record: bytes) -> None:
    lab.hello("p")
    lab.enqueue("a", "b")
    lab.settle("p", lab.take("p"))
    lab.redis("SET", lab.keys.record("a"), record, "PX", 60_000)

    broken, fine, unknown = wait(lab, "c1", "a", "b", "c")

    assert isinstance(broken, BadMessage)
    assert isinstance(fine, Record)
    assert unknown is None


def test_waits_of_a_wrong_type_register_nobody_and_stop_nobody(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a")
    lab.redis("SET", lab.keys.prefix + "waits", "junk")
    assert wait(lab, "c1", "a") == [State.QUEUED]
    lab.settle("p", lab.claim("p").tasks)
    assert isinstance(wait(lab, "c1", "a")[0], Record)
