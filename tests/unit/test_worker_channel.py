"""The way between a supervisor and a child."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from taskq.worker.channel import Channel

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = Channel.pair()
    yield ends
    for end in ends:
        end.close()


def test_messages_arrive_in_their_order_and_as_they_were(pair: Pair) -> None:
    one, other = pair
    one.send(kind="cancel", tasks={"é\n\x00": 2**53})
    one.send(kind="stop", deadline=1.5)
    assert list(other.messages()) == [
        {"kind": "cancel", "tasks": {"é\n\x00": 2**53}},
        {"kind": "stop", "deadline": 1.5},
    ]
    assert list(other.messages()) == []
    assert not other.closed


def test_both_ends_speak(pair: Pair) -> None:
    one, other = pair
    one.send(kind="a")
    other.send(kind="b")
    assert (list(one.messages()), list(other.messages())) == ([{"kind": "b"}], [{"kind": "a"}])


def test_a_message_that_is_larger_than_the_socket_takes_arrives_in_parts(pair: Pair) -> None:
    one, other = pair
    one.send(kind="big", text="x" * 900_000)
    one.send(kind="after")
    found: list[dict[str, object]] = []
    while len(found) < 2:
        found += other.messages()
        one.flush()
    assert [message["kind"] for message in found] == ["big", "after"]
    assert len(str(found[0]["text"])) == 900_000


def test_a_sender_never_waits_for_a_reader_that_has_stopped(pair: Pair) -> None:
    one, other = pair
    for number in range(5_000):
        one.send(kind="more", number=number, text="x" * 500)
    found: list[dict[str, object]] = []
    for _ in range(100):
        found += other.messages()
        one.flush()
    # What it could not keep is left out at the end; nothing is torn, nothing out of order.
    assert [message["number"] for message in found] == list(range(len(found)))
    assert len(found) > 1_000


def test_what_was_sent_before_the_end_is_still_read(pair: Pair) -> None:
    one, other = pair
    one.send(kind="last words")
    one.close()
    assert list(other.messages()) == [{"kind": "last words"}]
    assert other.closed


def test_an_end_that_is_gone_is_noticed_by_a_sender(pair: Pair) -> None:
    one, other = pair
    one.close()
    other.send(kind="anybody")
    other.send(kind="anybody")
    assert other.closed


def test_the_death_of_the_other_process_closes_the_line(pair: Pair) -> None:
    one, other = pair
    pid = os.fork()
    if pid == 0:
        one.close()
        other.send(kind="born")
        os._exit(1)
    other.close()
    os.waitpid(pid, 0)
    assert list(one.messages()) == [{"kind": "born"}]
    assert one.closed
