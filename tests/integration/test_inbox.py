"""The inbox: any number of waiters, in threads and on loops, on one connection, and nothing polls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import pytest

from taskq.broker import inbox as inbox_module
from taskq.broker.client import Broker
from taskq.broker.command import text
from taskq.broker.commands import producing
from taskq.broker.commands.working import Kind
from taskq.broker.inbox import Inbox
from taskq.errors import BadMessage, BrokerError
from taskq.record import Record, State
from tests.engine import Lab, ids
from tests.proxy import Fate, Proxy, names
from tests.servers import RedisServer
from tests.support import wait_until

Start = Callable[..., RedisServer]
T = TypeVar("T")


def inbox_of(broker: Broker) -> Inbox:
    return broker.inbox_of("any")


def connections(server: RedisServer) -> int:
    with server.client() as client:
        return sum(one["name"] == "taskq" for one in client.client_list())


def calls(server: RedisServer) -> dict[str, int]:
    with server.client() as client:
        stats: dict[str, Any] = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): one["calls"] for name, one in stats.items()}


def state_of(end: Record | None) -> State | None:
    return None if end is None else end.state


def ends(futures: dict[str, Future[Record | None]], timeout: float = 10) -> dict[str, State | None]:
    return {id: state_of(future.result(timeout)) for id, future in futures.items()}


def on_loop(broker: Broker, work: Coroutine[Any, Any, T]) -> T:
    async def whole() -> T:
        try:
            return await asyncio.wait_for(work, 30)
        finally:
            await broker.aclose()

    return asyncio.run(whole())


def finish(lab: Lab) -> list[str]:
    lab.hello("p")
    done = lab.take("p", 20_000)
    for start in range(0, len(done), 256):
        lab.settle("p", done[start : start + 256])
    return ids(done)


def test_ten_thousand_waiters_share_one_connection_and_nothing_polls(redis_server: Start) -> None:
    server = redis_server(aof=False)
    made = [f"a{n:05}" for n in range(10_000)]
    waiter = Broker(server.url, "own")
    with Lab(server.url, "own") as lab:
        for start in range(0, len(made), 250):
            lab.enqueue(*made[start : start + 250])
        futures = inbox_of(waiter).watch(made[:3_000])
        together = threading.Barrier(3)  # closing on one loop would end the waits of the others

        async def program(wanted: list[str]) -> list[State | None]:
            found = await asyncio.gather(*(inbox_of(waiter).awatch(id) for id in wanted))
            await asyncio.to_thread(together.wait, 30)
            return [state_of(end) for end in found]

        loops = ThreadPoolExecutor(2)
        on_loops = [loops.submit(on_loop, waiter, program(made[start::2])) for start in (3_000, 3_001)]
        waiting = lab.keys.prefix + "waits"
        wait_until(lambda: lab.redis("HLEN", waiting) == 10_000, message="all to be registered")
        # The lab's, and of the client: one it sends on, one of each loop, and the inbox, which blocks.
        assert connections(server) <= 5
        blocked = server.call("INFO", "clients")["blocked_clients"]

        before = calls(server)
        time.sleep(10)
        after = calls(server)

        assert blocked == 1
        ours = {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)}
        assert ours.keys() <= {"info", "client|setinfo"}, ours  # the test's own looks
        assert len(finish(lab)) == 10_000
        assert set(ends(futures, 30).values()) == {State.SUCCEEDED}
        together.wait(30)
        assert [loop.result(30) for loop in on_loops] == [[State.SUCCEEDED] * 3_500] * 2
        # The ends came by the hundred, not one by one.
        assert calls(server)["evalsha"] - after["evalsha"] < 400
        loops.shutdown()
    waiter.close()


def test_many_waits_are_registered_in_few_commands(lab: Lab, server: RedisServer) -> None:
    made = [f"a{n:03}" for n in range(1_000)]
    for start in range(0, 1_000, 250):
        lab.enqueue(*made[start : start + 250])
    before = calls(server)["evalsha"]

    async def program() -> list[Record | None]:
        waits = asyncio.gather(*(inbox_of(lab.broker).awatch(id) for id in made))
        await asyncio.to_thread(wait_until, lambda: lab.redis("HLEN", lab.keys.prefix + "waits") == 1_000)
        assert calls(server)["evalsha"] - before <= 4
        await asyncio.to_thread(finish, lab)
        return await waits

    assert {state_of(end) for end in on_loop(lab.broker, program())} == {State.SUCCEEDED}


def test_what_has_ended_and_what_is_unknown_is_answered_at_once(lab: Lab) -> None:
    lab.enqueue("ended")
    finish(lab)
    futures = inbox_of(lab.broker).watch(["ended", "ghost", "ended"])
    assert ends(futures, 1) == {"ended": State.SUCCEEDED, "ghost": None}


@pytest.mark.contract
def test_waiters_of_one_task_all_hear_of_its_end(lab: Lab) -> None:
    lab.enqueue("a")
    inbox = inbox_of(lab.broker)

    async def program() -> list[Record | None]:
        waits = [asyncio.create_task(inbox.awatch("a")) for _ in range(5)]
        threads = [inbox.watch(["a"])["a"] for _ in range(5)]
        await asyncio.to_thread(finish, lab)
        found = await asyncio.gather(*waits)
        return found + [future.result(5) for future in threads]

    found = on_loop(lab.broker, program())
    assert [state_of(end) for end in found] == [State.SUCCEEDED] * 10


def test_a_waiter_that_gives_up_takes_no_other_along(lab: Lab) -> None:
    lab.enqueue("a", "b")
    inbox = inbox_of(lab.broker)

    async def program() -> tuple[Record | None, Record | None]:
        stays = asyncio.create_task(inbox.awatch("a"))
        leaves = [asyncio.create_task(inbox.awatch("a")) for _ in range(3)]
        alone = asyncio.create_task(inbox.awatch("b"))
        await asyncio.sleep(0.05)
        for task in [*leaves, alone]:
            task.cancel()
        await asyncio.gather(*leaves, alone, return_exceptions=True)
        again = asyncio.create_task(inbox.awatch("b"))
        await asyncio.to_thread(finish, lab)
        return await stays, await again

    found = on_loop(lab.broker, program())
    assert [state_of(end) for end in found] == [State.SUCCEEDED] * 2


def test_a_waiter_that_is_done_takes_no_later_one_along(lab: Lab) -> None:
    lab.enqueue("a")
    inbox = inbox_of(lab.broker)

    def live_again() -> Future[Record | None]:
        """All on the loop's thread: the loop has no time to see the first end."""
        finish(lab)
        time.sleep(0.2)
        lab.redis("DEL", lab.keys.record("a"))
        lab.enqueue("a")
        return inbox.watch(["a"])["a"]

    async def program() -> Record | None:
        waits = asyncio.create_task(inbox.awatch("a"))
        await asyncio.sleep(0.1)
        later = live_again()
        assert state_of(await waits) is State.SUCCEEDED
        assert not later.done()
        await asyncio.to_thread(finish, lab)
        return await asyncio.to_thread(later.result, 5)

    assert state_of(on_loop(lab.broker, program())) is State.SUCCEEDED


def test_what_was_told_while_nobody_waited_is_not_believed(lab: Lab, server: RedisServer) -> None:
    """A dead letter may be discarded meanwhile, and its id used again."""
    lab.enqueue("a", "b")
    inbox = inbox_of(lab.broker)
    given_up = inbox.watch(["a", "b"])
    inbox.forget(["a"])
    lab.hello("p")
    first, other = lab.take("p")
    lab.settle("p", [other])
    assert state_of(given_up["b"].result(5)) is State.SUCCEEDED
    wait_until(lambda: blocked(server) == 0, message="the inbox to have nothing to wait for")
    lab.settle("p", [first], Kind.FAILED)
    lab.redis("DEL", lab.keys.record("a"), lab.keys.message("a"))
    lab.enqueue("a")

    again = inbox.watch(["a"])["a"]
    wait_until(lambda: lab.names("inbox:*") == [], message="the old word to be read")
    finish(lab)

    assert state_of(again.result(5)) is State.SUCCEEDED


def test_a_broken_record_is_the_error_of_those_who_wait_for_it(lab: Lab) -> None:
    lab.enqueue("broken", "fine")
    inbox = inbox_of(lab.broker)
    futures = inbox.watch(["broken", "fine"])
    lab.hello("p")
    _, fine = lab.take("p")
    lab.redis("SET", lab.keys.record("broken"), "S|junk", "PX", 60_000)
    client = text(lab.redis("HGET", lab.keys.prefix + "waits", "broken"))
    lab.redis("RPUSH", lab.keys.inbox(client), "broken")
    lab.settle("p", [fine])

    assert state_of(futures["fine"].result(5)) is State.SUCCEEDED
    with pytest.raises(BadMessage):
        futures["broken"].result(5)
    lab.enqueue("next")
    later = inbox.watch(["next"])
    finish(lab)
    assert ends(later, 5) == {"next": State.SUCCEEDED}


def test_what_ends_while_the_line_is_down_is_heard_of_when_it_is_up(lab: Lab, server: RedisServer) -> None:
    lab.enqueue("a")
    broker = Broker(server.url, lab.keys.namespace)
    futures = inbox_of(broker).watch(["a"])
    wait_until(lambda: blocked(server) == 1, message="the inbox to block")
    lab.redis("DEL", lab.keys.prefix + "waits")  # nobody is told
    finish(lab)
    begun = time.monotonic()
    with server.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    assert ends(futures, 10) == {"a": State.SUCCEEDED}
    assert time.monotonic() - begun < 5
    broker.close()


def blocked(server: RedisServer) -> int:
    return int(server.call("INFO", "clients")["blocked_clients"])


def test_a_word_that_is_lost_with_its_connection_is_heard_of(lab: Lab, proxy: Proxy, distant: Broker) -> None:
    lab.enqueue("a")
    lost = iter([Fate.LOSE_REPLY])
    proxy.judge = lambda words: next(lost, Fate.PASS) if names(words, "BLMPOP") else Fate.PASS
    futures = inbox_of(distant).watch(["a"])
    finish(lab)
    assert ends(futures, 10) == {"a": State.SUCCEEDED}
    assert proxy.lost[Fate.LOSE_REPLY] == 1


def test_waiting_outlives_a_restart_of_the_server(redis_server: Start) -> None:
    server = redis_server("--appendfsync", "always")
    with Lab(server.url, "own") as lab:
        lab.enqueue("a", "b")
        futures = inbox_of(lab.broker).watch(["a", "b"])
        server.kill()
        server.start()
        finish(lab)
        assert ends(futures, 20) == {"a": State.SUCCEEDED, "b": State.SUCCEEDED}


def test_a_namespace_that_is_lost_is_known_as_such(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "RECHECK_S", 0.3)
    lab.enqueue("a")
    futures = inbox_of(lab.broker).watch(["a"])
    for name in lab.names():
        lab.redis("DEL", lab.keys.prefix + name)
    assert ends(futures, 10) == {"a": None}


def test_on_a_full_server_nobody_is_registered_and_the_recheck_finds_the_end(
    redis_server: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "RECHECK_S", 0.3)
    server = redis_server(aof=False)
    with Lab(server.url, "own") as lab:
        lab.enqueue("a")
        server.call("CONFIG", "SET", "maxmemory", "1mb")
        futures = inbox_of(lab.broker).watch(["a"])
        assert lab.names("waits") == []
        finish(lab)
        assert lab.names("inbox:*") == []
        assert ends(futures, 10) == {"a": State.SUCCEEDED}


def test_registering_that_fails_is_the_waiters_error(lab: Lab, proxy: Proxy) -> None:
    lab.enqueue("a")
    broker = Broker(proxy.url, lab.keys.namespace, patience=0.2)
    proxy.judge = lambda words: Fate.LOSE_COMMAND if names(words, "wait") else Fate.PASS
    with pytest.raises(BrokerError):
        inbox_of(broker).watch(["a"])
    with pytest.raises(BrokerError):
        on_loop(broker, inbox_of(broker).awatch("a"))
    proxy.judge = lambda words: Fate.PASS if words else Fate.LOSE_COMMAND
    futures = inbox_of(broker).watch(["a"])
    finish(lab)
    assert ends(futures, 10) == {"a": State.SUCCEEDED}
    broker.close()


def inbox_threads() -> set[threading.Thread]:
    """Those of other tests, whose clients nobody closed, among them."""
    return {one for one in threading.enumerate() if one.name == "taskq-inbox"}


def test_close_tells_those_who_wait_and_leaves_no_connection(lab: Lab, server: RedisServer) -> None:
    lab.enqueue("a")
    before, threads = connections(server), inbox_threads()
    broker = Broker(server.url, lab.keys.namespace)
    future = inbox_of(broker).watch(["a"])["a"]
    wait_until(lambda: blocked(server) == 1, message="the inbox to block")

    broker.close()

    with pytest.raises(BrokerError, match="closed while this waited"):
        future.result(1)
    wait_until(lambda: connections(server) <= before, message="its connections to be closed")
    wait_until(lambda: inbox_threads() <= threads)


@pytest.mark.parametrize("after_s", [0, 0.001, 0.002, 0.004, 0.008])
def test_a_client_can_be_closed_at_any_moment(lab: Lab, server: RedisServer, after_s: float) -> None:
    lab.redis("PING")
    before, threads = connections(server), inbox_threads()
    for _ in range(10):
        broker = Broker(server.url, lab.keys.namespace)
        assert ends(inbox_of(broker).watch(["ghost"])) == {"ghost": None}
        time.sleep(after_s)
        broker.close()
    wait_until(lambda: connections(server) <= before, 5, "its connections to be closed")
    wait_until(lambda: inbox_threads() <= threads, 5)


def test_a_client_that_went_away_leaves_an_inbox_that_goes_too(lab: Lab) -> None:
    lab.enqueue("a")
    lab.call(producing.wait(lab.keys, "gone", ["a"]))
    finish(lab)
    assert 0 < lab.ttl("inbox:gone") <= 60_000


def test_more_ends_than_one_look_takes_do_not_end_a_later_life_of_their_ids(lab: Lab) -> None:
    """Nobody waits any more when they are told: they lie there until somebody waits again."""
    made = [f"a{n:04}" for n in range(1_280)]
    for start in range(0, len(made), 256):
        lab.enqueue(*made[start : start + 256])
    inbox = inbox_of(lab.broker)
    inbox.watch(made)
    told = lab.keys.inbox(text(lab.redis("HGET", lab.keys.prefix + "waits", made[0])))
    inbox.forget(made)
    finish(lab)
    assert lab.redis("LLEN", told) > 600, "more than one look takes"
    again, before = producing.told(lab.redis("LINDEX", told, -1))
    assert before is not None
    lab.redis("DEL", lab.keys.record(again))  # as when its time is over
    lab.enqueue(again)

    future = inbox.watch([again])[again]

    wait_until(lambda: lab.redis("LLEN", told) == 0, message="the inbox to be read")
    finish(lab)
    end = future.result(10)
    assert end is not None
    assert end.g > before.g, "the end of this life, not that of the one before"
