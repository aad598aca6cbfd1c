"""claim: how much of what is ready a process gets, and who is woken for the rest."""

from __future__ import annotations

from collections import Counter

import pytest

from taskq.broker.commands import operating
from taskq.broker.commands.producing import Envelope
from taskq.broker.commands.working import Kind
from tests.engine import Lab, ids

pytestmark = pytest.mark.contract


def test_sixty_four_idle_processes_get_one_task_each(lab: Lab) -> None:
    processes = [f"p{n}" for n in range(64)]
    lab.hello(*processes)
    lab.enqueue(*(f"a{n}" for n in range(64)))

    taken = [ids(lab.claim(process)) for process in processes]

    assert {len(some) for some in taken} == {1}
    assert len({id for some in taken for id in some}) == 64


@pytest.mark.parametrize(
    ("processes", "ready", "limit", "given"),
    [
        (1, 100, 256, 50),
        (4, 100, 256, 13),
        (4, 100, 5, 5),
        (1, 1, 256, 1),
        (8, 1, 256, 1),
        (1, 600, 256, 256),
    ],
)
def test_a_claim_gives_its_share_and_no_more(
    lab: Lab, processes: int, ready: int, limit: int, given: int
) -> None:
    lab.hello(*(f"p{n}" for n in range(processes)))
    names = [f"a{n}" for n in range(ready)]
    for start in range(0, ready, 256):
        lab.enqueue(*names[start : start + 256])
    assert len(lab.claim("p0", limit).tasks) == given


def test_the_share_counts_each_queue_for_itself_and_those_who_serve_it(lab: Lab) -> None:
    lab.hello("p", queues=("mail", "default"))
    lab.hello("q", "r", "s", queues=("default",))
    lab.enqueue(*(f"m{n}" for n in range(8)), list="mail:5")
    lab.enqueue(*(f"d{n}" for n in range(16)))

    taken = Counter(id[0] for id in ids(lab.claim("p", queues=("mail", "default"))))

    assert taken == {"m": 4}  # the rest of it comes before anything of a later queue
    assert len(lab.claim("p", queues=("default",)).tasks) == 2
    lab.reap_all("s")
    assert len(lab.claim("q").tasks) == 3


def test_what_is_skipped_uses_no_share(lab: Lab) -> None:
    lab.hello("p", "q")
    lab.enqueue(*(f"a{n:02}" for n in range(40)))
    for number in range(20):
        lab.cancel(f"a{number:02}")

    assert ids(lab.claim("p")) == [f"a{n}" for n in range(20, 30)]


def test_a_claim_looks_at_256_ids_at_most_and_wakes_another_for_the_rest(lab: Lab) -> None:
    lab.hello("p")
    for start in range(0, 600, 200):
        lab.enqueue(*(f"a{n}" for n in range(start, start + 200)))
    for number in range(300):
        lab.cancel(f"a{number}")
    lab.forget_tokens()

    assert lab.claim("p").tasks == []
    assert lab.tokens() == 1
    assert len(lab.ready()) == 600 - 256
    assert ids(lab.claim("p", 1)) == ["a300"]


def test_a_claim_gives_a_megabyte_at_most_and_wakes_another_for_the_rest(lab: Lab) -> None:
    lab.hello("p")
    lab.store([Envelope(f"a{n:03}", "default:7", b"x" * 50_000) for n in range(100)])
    lab.enqueue("z", list="default:3")
    lab.forget_tokens()

    first = lab.claim("p").tasks

    assert ids(first) == [f"a{n:03}" for n in range(20)]
    assert lab.tokens() == 1
    assert lab.ready("default:7") == [f"a{n:03}" for n in range(20, 100)]
    assert lab.ready("default:3") == ["z"]


def test_messages_of_more_than_a_megabyte_do_not_stand_in_the_way(lab: Lab) -> None:
    lab.hello("p")
    large = [f"a{n:02}" for n in range(20)]
    lab.store([Envelope(id, "default:5", b"x" * 1_500_000) for id in large])
    lab.enqueue("z")

    taken: list[str] = []
    while some := lab.claim("p").tasks:
        assert len(some) <= 4  # so many are read at a time
        taken += ids(some)

    assert taken == [*large, "z"]


def test_left_work_leaves_one_token_and_an_empty_queue_none(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b")
    lab.forget_tokens()

    lab.claim("p", 1)
    assert lab.tokens() == 1
    lab.forget_tokens()
    lab.claim("p", 1)
    lab.claim("p", 1)
    assert lab.tokens() == 0


def test_a_claim_tells_to_which_queues_it_came(lab: Lab) -> None:
    """What it came to was given, or has a token; of the others it knows nothing."""
    queues = ("a", "b", "c")
    lab.hello("p", queues=queues)
    lab.enqueue("a1", "a2", "a3", list="a:5")
    lab.enqueue("b1", list="b:9")
    lab.enqueue("c1", list="c:0")
    came: list[str] = []
    for _ in range(3):
        lab.forget_tokens(*queues)
        batch = lab.claim("p", queues=queues)
        some = "".join(queue for queue in queues if batch.came_to(queue))
        came.append(some)
        assert all(lab.tokens(queue) or not lab.ready(f"{queue}:{p}") for queue in some for p in (0, 5, 9))

    assert came == ["a", "abc", "abc"]


def test_a_claim_of_nothing_leaves_a_token_only_if_work_is_ready(lab: Lab) -> None:
    lab.hello("p")
    assert lab.claim("p", 0).tasks == []
    assert lab.tokens() == 0
    lab.enqueue("a")
    lab.forget_tokens()

    assert lab.claim("p", 0).tasks == []

    assert lab.tokens() == 1
    assert lab.ready() == ["a"]


def test_tokens_are_eight_at_most(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue(*(f"a{n}" for n in range(40)))
    for _ in range(12):
        lab.claim("p", 1)
    assert lab.tokens() == 8


def test_nothing_leaves_a_token_on_a_paused_queue(lab: Lab) -> None:
    lab.hello("p")
    lab.enqueue("a", "b", "c", "d")
    a, b, c, _ = lab.take("p")
    lab.call(operating.pause(lab.keys, "default"))
    lab.forget_tokens()

    lab.settle("p", [a], Kind.RELEASED)
    lab.settle("p", [b], Kind.RETRY, 0)
    lab.park("p", c, "app.unknown")
    lab.claim("p", 0)
    lab.register("p", **{"app.unknown": "default"})
    lab.reap_all("p")

    assert sorted(lab.ready()) == ["a", "b", "c", "d"]
    assert lab.tokens() == 0
