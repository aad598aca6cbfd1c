"""The janitor removes objects beside the work, and nothing that it meets ends it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import pytest

from taskq.broker.client import Broker
from taskq.errors import PayloadUnavailable
from taskq.payloads import Payloads
from taskq.testing.store import MemoryStore
from taskq.worker import janitor as module
from taskq.worker.janitor import Janitor
from tests.support import wait_until


class Store(MemoryStore):
    """Is away as often as it is told to, and has one old object whose task nobody knows."""

    def __init__(self, away: int = 0) -> None:
        super().__init__()
        self.away, self.turns = away, 0
        self.objects = {f"0-{number}~m0": b"x" for number in range(3)}

    def remove(self, names: Iterable[str]) -> None:
        if self.away:
            self.away -= 1
            raise PayloadUnavailable("it is away")
        super().remove(names)

    def old(self, age_s: float) -> Iterator[tuple[str, int]]:
        assert age_s == 3_600
        yield "0-2~m0", 1

    def take_turn(self, every_s: float) -> bool:
        self.turns += 1
        return every_s == 3_600 and self.turns == 1


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker("memory://janitor")
    broker.run(broker.namespace.meet(0))
    yield broker
    broker.close()


def janitor_of(store: Store | None, broker: Broker) -> Janitor:
    return Janitor(Payloads(store, 1_000), broker)


def test_what_is_named_is_removed_before_the_end(broker: Broker) -> None:
    store = Store()
    janitor = janitor_of(store, broker)
    janitor.start()
    janitor.discard("0-0~m0")
    janitor.discard("0-1~m0")
    janitor.stop(time.monotonic() + 10)
    assert [*store.objects] == ["0-2~m0"]


def test_a_store_that_is_away_is_left_to_a_sweep(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(away=1)
    janitor = janitor_of(store, broker)
    janitor.start()
    janitor.discard("0-0~m0")
    wait_until(lambda: "left to a sweep" in caplog.text)
    janitor.discard("0-1~m0")
    janitor.stop(time.monotonic() + 10)
    assert [*store.objects] == ["0-0~m0", "0-2~m0"]


def test_the_store_is_swept_when_it_is_time(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOKS_EVERY_S", 0.01)
    store = Store()
    janitor = janitor_of(store, broker)
    janitor.start()
    wait_until(lambda: store.turns > 2)
    janitor.stop(time.monotonic() + 10)
    assert [*store.objects] == ["0-0~m0", "0-1~m0"]


def test_without_a_store_there_is_nothing_to_do(broker: Broker) -> None:
    janitor = janitor_of(None, broker)
    janitor.start()
    janitor.discard("0-0~m0")
    janitor.stop(time.monotonic() + 10)
