"""Sending commands: from threads and event loops, over connections that break, to a server that forgets scripts."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from taskq.broker.client import Broker
from taskq.broker.commands import producing, reading
from taskq.broker.commands.producing import Stored
from taskq.broker.commands.working import Answer
from taskq.record import State
from tests.engine import HOUR_MS, Lab, envelope
from tests.proxy import Proxy
from tests.servers import RedisServer
from tests.support import wait_until


def test_a_jump_of_the_servers_clock_refuses_no_new_message(
    lab: Lab, distant: Broker, jumping_clock: None
) -> None:
    assert distant.run(distant.store([envelope("a")])) == [Stored("a", True)]
    lab.jump(HOUR_MS)
    assert distant.run(distant.store([envelope("b")])) == [Stored("b", True)]
    lab.jump(-HOUR_MS)
    assert distant.run(distant.store([envelope("c")])) == [Stored("c", True)]
    assert abs(distant.now_ms() - lab.now_ms()) < 5_000


def test_giving_up_an_enqueue_mixes_up_no_answers(lab: Lab, proxy: Proxy, distant: Broker) -> None:
    proxy.delay = 0.004
    luck = random.Random(3)

    async def give_up(number: int) -> None:
        command = producing.enqueue(lab.keys, [envelope(f"a{number}")])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(distant.acall(command), 0.0001 + luck.random() * 0.003)

    async def echo(number: int) -> bool:
        wanted = f"echo {number}".encode()
        return bool(await distant.acall(reading.read(lab.keys, "ECHO", wanted.decode())) == wanted)

    async def program() -> list[bool]:
        await distant.acall(reading.read(lab.keys, "PING"))
        right: list[bool] = []
        for start in range(0, 80, 20):
            await asyncio.gather(*(give_up(n) for n in range(start, start + 20)), return_exceptions=True)
            right += await asyncio.gather(*(echo(n) for n in range(start, start + 20)))
        await distant.aclose()
        return right

    assert all(asyncio.run(program()))


def test_giving_up_an_astore_takes_nobody_along(lab: Lab, proxy: Proxy, distant: Broker) -> None:
    proxy.delay = 0.02

    async def program() -> list[Stored]:
        tasks = [asyncio.create_task(distant.astore(envelope(f"a{n}"))) for n in range(20)]
        await asyncio.sleep(0.01)
        for task in tasks[::2]:
            task.cancel()
        others = await asyncio.gather(*tasks[1::2])
        await distant.aclose()
        return others

    assert [one.id for one in asyncio.run(program())] == [f"a{n}" for n in range(1, 20, 2)]
    # Giving up the wait is no taking back: the message may be stored.
    assert set(lab.ready()) >= {f"a{n}" for n in range(1, 20, 2)}


def scripts_run(lab: Lab) -> int:
    for line in lab.redis("INFO", "commandstats").decode().splitlines():
        if line.startswith("cmdstat_evalsha:"):
            return int(line.partition("calls=")[2].partition(",")[0])
    return 0


def test_a_thousand_concurrent_astores_are_a_handful_of_commands(lab: Lab) -> None:
    broker = lab.broker

    async def program() -> list[Stored]:
        stored = await asyncio.gather(*(broker.astore(envelope(f"a{n:03}")) for n in range(1_000)))
        await broker.aclose()
        return stored

    before = scripts_run(lab)
    stored = asyncio.run(program())

    assert all(one.created for one in stored)
    assert lab.ready() == [f"a{n:03}" for n in range(1_000)]
    assert scripts_run(lab) - before <= 6


def test_one_client_serves_threads_and_several_loops(lab: Lab) -> None:
    broker = lab.broker

    async def program(name: str) -> None:
        await asyncio.gather(*(broker.astore(envelope(f"{name}-{n}")) for n in range(50)))
        await broker.aclose()

    def thread(name: str) -> None:
        for number in range(50):
            broker.run(broker.store([envelope(f"{name}-{number}")]))

    with ThreadPoolExecutor(6) as threads:
        loops = [threads.submit(asyncio.run, program(f"loop{n}")) for n in range(3)]
        plain = [threads.submit(thread, f"thread{n}") for n in range(3)]
        for future in [*loops, *plain]:
            future.result(20)

    assert len(set(lab.ready())) == 300


def test_more_threads_than_connections_wait_for_one(lab: Lab) -> None:
    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda n: lab.enqueue(f"a{n}")[0].created, range(300)))
    assert all(answers)


def test_a_call_outlives_its_connection(lab: Lab, server: RedisServer) -> None:
    lab.enqueue("a")
    with server.client() as other:
        other.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert lab.enqueue("b")[0].created
    assert lab.ready() == ["a", "b"]


def test_scripts_that_the_server_forgot_are_loaded_again(lab: Lab, server: RedisServer) -> None:
    lab.hello("p")
    for number in range(10):
        server.call("SCRIPT", "FLUSH")
        lab.enqueue(f"a{number}")
        server.call("SCRIPT", "FLUSH")
        tasks = lab.claim("p").tasks
        server.call("SCRIPT", "FLUSH")
        assert lab.settle("p", tasks) == [Answer.COMMITTED]
    assert [lab.state(f"a{n}") for n in range(10)] == [State.SUCCEEDED] * 10


def test_scripts_flushed_all_the_time_stop_nobody(lab: Lab, server: RedisServer) -> None:
    stop = threading.Event()

    def flush() -> None:
        with server.client() as client:
            while not stop.wait(0.01):
                client.script_flush()

    flusher = threading.Thread(target=flush)
    flusher.start()
    try:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda n: lab.enqueue(f"a{n}")[0].created, range(400)))
    finally:
        stop.set()
        flusher.join()
    assert all(answers)
    assert len(lab.ready()) == 400


def test_close_leaves_no_connection(lab: Lab, server: RedisServer) -> None:
    broker = Broker(server.url, lab.broker.namespace.name)

    def connections() -> int:
        return sum(client["name"] == "taskq" for client in _clients(server))

    before = connections()

    async def program() -> None:
        await asyncio.gather(*(broker.acall(reading.read(lab.keys, "PING")) for _ in range(5)))
        await broker.aclose()

    broker.call(reading.read(lab.keys, "PING"))
    asyncio.run(program())
    broker.close()
    wait_until(lambda: connections() == before, message="the connections to be closed")


def _clients(server: RedisServer) -> list[dict[str, str]]:
    with server.client() as client:
        clients: list[dict[str, str]] = client.client_list()
        return clients
