"""What is said to forks, and by them: a fork may say anything once its task has broken it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from taskq.broker.commands.working import Kind
from taskq.message import Message
from taskq.payloads import Reference
from taskq.worker.isolated.wire import ORDERS, WORDS, Order, Word, hear, say

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_an_order_arrives_as_it_was_given(ends: Ends) -> None:
    message = Message("t", args=b"\xff" * 3_000_000, payload=Reference("name", 1, b"sha", True), tags=["a"])
    order = Order("id", 2**60, message, 1, 2, "process", True, False, -5)
    writing = threading.Thread(target=say, args=(ends[0], order))
    writing.start()

    assert hear(ends[1], ORDERS) == order
    writing.join()


def test_words_arrive_one_by_one_until_the_line_ends(ends: Ends) -> None:
    said = [
        Word(Kind.RETRY, 7, 1.5, b"outcome"),
        Word(discard="object"),
        Word(Kind.SUCCEEDED, still_runs=True),
    ]
    for word in said:
        say(ends[0], word)
    ends[0].close()

    assert [hear(ends[1], WORDS) for _ in range(4)] == [*said, None]


@pytest.mark.parametrize(
    "said",
    [b"", b"\x05", b"\x05" + b"\0" * 7 + b"cut", b"\x02" + b"\0" * 7 + b"\xc1\xc1", b"\xff" * 200],
    ids=["nothing", "half a length", "half a value", "no value", "noise"],
)
def test_what_was_not_said_in_full_is_the_end(ends: Ends, said: bytes) -> None:
    ends[0].sendall(said)
    ends[0].close()

    assert hear(ends[1], WORDS) is None


def test_a_word_of_an_unknown_kind_is_the_end(ends: Ends) -> None:
    say(ends[0], Word(Kind.SUCCEEDED))
    said = ends[1].recv(1_000)
    changed = said.replace(b"\xa1S", b"\xa1?")
    assert changed != said

    ends[0].sendall(changed)
    assert hear(ends[1], WORDS) is None


def test_a_length_that_cannot_be_is_not_waited_for(ends: Ends) -> None:
    ends[0].sendall(b"\xff" * 200)

    assert hear(ends[1], WORDS) is None
