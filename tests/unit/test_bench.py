"""What `taskq bench` makes of figures: every rule with figures made for it, and what people read."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from taskq.cli.bench import limits
from taskq.cli.bench.measured import (
    Client,
    Drain,
    Enqueues,
    Idle,
    Measured,
    Memory,
    Report,
    Said,
    Server,
    Slow,
)
from taskq.cli.bench.report import report
from taskq.cli.trial.durations import Milliseconds
from taskq.inspector.doctor import Finding, Status

MB = 1_000_000
LOOPBACK = Server(
    name="Redis 8.2.1",
    url="redis://localhost:6379/0",
    embedded=False,
    network="loopback",
    aof="everysec",
    maxmemory_bytes=0,
    maxmemory_policy="noeviction",
    used_memory_bytes=2 * MB,
    other_clients=0,
    other_commands_per_s=0,
)
REMOTE = msgspec.structs.replace(LOOPBACK, network="network", url="redis://db.example:6379/0")
CLIENT = Client(taskq="1.0", python="3.11.9", hiredis="3.3.0", uvloop="0.22.1", signing=False, cpus=4)


def enqueues(per_s: float, program: float = 0.5, redis: float = 0.3) -> Enqueues:
    return Enqueues(
        tasks=1_000,
        per_s=per_s,
        program_core_share=program,
        redis_thread_share=redis,
        redis_cpu_us_per_task=5.0,
    )


def drain(processes: int = 1, kind: str = "sync", **said: Any) -> Drain:
    usual: dict[str, Any] = {
        "per_s": 50_000.0,
        "worker_cpu_us_per_task": 18.0,
        "core_share_per_process": 0.5,
        "cpu_wait_share_per_process": 0.0,
        "redis_thread_share": 0.3,
        "redis_wait_share": None,
    }
    return Drain(
        kind=kind,
        processes=processes,
        tasks=100_000,
        seconds=2.0,
        redis_cpu_us_per_task=9.0,
        redis_script_us_per_task=8.0,
        **{**usual, **said},
    )


def measured(*drains: Drain, ping: float = 0.05, **said: Any) -> Measured:
    usual: dict[str, Any] = {
        "server": LOOPBACK,
        "client": CLIENT,
        "enqueue": enqueues(10_000),
        "enqueue_many": enqueues(150_000),
        "aenqueue": enqueues(60_000),
        "slowlog": Slow(commands=0, longest_ms=0.0, threshold_ms=10.0),
        "late_fsyncs": 0,
        "memory": Memory(payload_bytes=0, queued_bytes_per_task=250.0, ended_bytes_per_task=200.0),
    }
    return Measured(
        namespace="bench-1",
        quick=False,
        seconds=30.0,
        ping_ms=Milliseconds(ping, 2 * ping),
        idle=Idle(trips=400, start_ms=Milliseconds(0.4, 1.0), result_ms=Milliseconds(0.8, 2.0)),
        drains=list(drains) or [drain()],
        **{**usual, **said},
    )


def says(found: Measured, rule: str) -> str:
    """What a rule says, exactly once."""
    (said,) = [said.says for said in limits.limits(found) if said.rule == rule]
    return said


def rules(found: Measured) -> list[str]:
    return [said.rule for said in limits.limits(found)]


def test_a_process_with_its_whole_core_has_more_processes_ahead_of_it() -> None:
    said = says(measured(drain(core_share_per_process=0.96, redis_thread_share=0.41)), "process")

    assert said == (
        "1 process (sync tasks, 50,000/s) used its whole core (96 %); Redis's one thread was at 41 %. "
        "More processes drain more, until Redis is full."
    )


def test_the_processes_and_redis_may_have_taken_all_cpus() -> None:
    client = msgspec.structs.replace(CLIENT, cpus=2)
    two = drain(2, core_share_per_process=0.9, redis_thread_share=0.2)

    said = says(measured(drain(per_s=1.0, core_share_per_process=None), two, client=client), "machine")

    assert "2 processes (sync tasks, 50,000/s) used a whole core each (90 %)" in said
    assert said.endswith("The 2 CPUs of this machine are taken by the processes and Redis: "
                         "more processes need more CPUs.")  # fmt: skip


def test_redis_elsewhere_takes_no_cpu_here() -> None:
    client = msgspec.structs.replace(CLIENT, cpus=2)
    one = drain(core_share_per_process=0.95, redis_thread_share=0.8)
    two = drain(2, core_share_per_process=0.95)

    assert "machine" in rules(measured(drain(), two, client=client, server=REMOTE))
    assert "process" in rules(measured(one, client=client, server=REMOTE))


def test_redis_that_is_full_is_said_before_all_else() -> None:
    two = drain(2, core_share_per_process=0.99, redis_thread_share=0.97)

    said = says(measured(drain(), two), "redis")

    assert said == (
        "Redis's one thread is full with 2 processes (sync tasks, 50,000/s): it was at 97 %. "
        "More processes do not drain faster."
    )


@pytest.mark.parametrize(
    "waits",
    [
        {"cpu_wait_share_per_process": 0.4},
        {"redis_wait_share": 0.4},
    ],
)
def test_other_programs_may_take_the_cpu(waits: dict[str, Any]) -> None:
    said = says(measured(drain(core_share_per_process=0.5, **waits)), "machine")

    assert "had work but no CPU for 40 % of the time" in said
    assert said.endswith("Of the 4 CPUs of this machine, the processes and Redis got 0.8: "
                         "other programs take the rest, and these figures are low.")  # fmt: skip


def test_a_far_server_is_waited_for() -> None:
    busy = drain(core_share_per_process=0.2, cpu_wait_share_per_process=0.4)
    found = measured(busy, ping=3.1, server=REMOTE)

    (said, _) = [said.says for said in limits.limits(found) if said.rule == "way"]

    assert said.endswith("Most of the time was the way to the server: a PING takes 3.1 ms.")


def test_a_near_server_that_is_slow_to_answer_lacks_cpu_too() -> None:
    busy = drain(core_share_per_process=0.2, cpu_wait_share_per_process=0.4)

    assert "other programs take the rest, and these figures are low." in says(
        measured(busy, ping=3.1), "machine"
    )


def test_a_disk_is_waited_for_where_every_write_is_flushed() -> None:
    always = msgspec.structs.replace(LOOPBACK, aof="always")

    assert "appendfsync is always" in says(measured(drain(core_share_per_process=0.2), server=always), "disk")


def test_where_nothing_is_full_that_is_said() -> None:
    assert says(measured(drain(core_share_per_process=0.2)), "nothing").endswith(
        "used 20 % of a core; Redis's one thread was at 30 %. Nothing is full, and a PING takes 0.05 ms."
    )


def test_what_is_not_known_of_a_process_is_not_made_up() -> None:
    said = says(measured(drain(core_share_per_process=None, cpu_wait_share_per_process=None)), "nothing")

    assert "used CPU that is not known here" in said


def test_of_sync_and_async_the_faster_one_counts() -> None:
    slow, fast = drain(per_s=10_000.0), drain(kind="async", per_s=20_000.0)

    assert "(async tasks, 20,000/s)" in says(measured(slow, fast), "nothing")


def test_several_processes_are_held_against_one() -> None:
    said = says(measured(drain(per_s=40_000.0), drain(4, per_s=100_000.0)), "scaling")

    assert said == "4 processes drain 2.50 × what one does (40,000 and 100,000 tasks/s)."
    assert "scaling" not in rules(measured(drain()))


def test_batches_hide_the_way_that_single_enqueues_cannot() -> None:
    found = measured(ping=3.1, server=REMOTE, enqueue=enqueues(300), enqueue_many=enqueues(60_000))

    (said,) = [one.says for one in limits.limits(found) if "Batches" in one.says]

    assert said == (
        "The way to the server: a PING takes 3.1 ms, and a single enqueue 3.33 ms. "
        "Batches hide it, single enqueues cannot: enqueue_many stores 200 × as many a second."
    )


def test_a_flush_for_every_write_is_what_a_single_enqueue_waits_for() -> None:
    always = msgspec.structs.replace(LOOPBACK, aof="always")

    said = says(measured(server=always, enqueue=enqueues(250)), "fsync")

    assert said.startswith("appendfsync is always: a single enqueue takes 4 ms, a PING 0.05 ms;")


def test_a_near_server_leaves_the_enqueue_to_be_said() -> None:
    assert says(measured(), "enqueue") == (
        "A single enqueue takes 0.1 ms, of which a PING would take 0.05 ms; enqueue_many stores 15 × as many a second."
    )


def test_the_program_or_redis_may_be_full_of_enqueues() -> None:
    program = measured(enqueue_many=enqueues(150_000, program=0.93, redis=0.35))
    redis = measured(aenqueue=enqueues(60_000, program=0.99, redis=0.9))

    assert says(program, "program") == (
        "enqueue_many uses the program's whole core (93 %) at 150,000/s; Redis's one thread was at 35 %: "
        "more programs enqueue more."
    )
    assert says(redis, "redis").startswith("Concurrent aenqueue fills Redis's one thread (90 %) at 60,000/s")


def test_what_is_missing_is_named_with_what_a_task_costs() -> None:
    bare = msgspec.structs.replace(CLIENT, hiredis=None, uvloop=None)
    found = measured(drain(), drain(kind="async", worker_cpu_us_per_task=None), client=bare)

    assert says(found, "hiredis") == (
        "hiredis is not installed, so replies are read in Python; one of these tasks took 18 µs of worker CPU: "
        'install taskq\'s extra "fast".'
    )
    assert says(found, "uvloop").endswith("asyncio's own loop: install taskq's extra \"fast\".")
    assert not {"hiredis", "uvloop"} & set(rules(measured()))


def test_memory_says_how_many_may_wait() -> None:
    limited = msgspec.structs.replace(LOOPBACK, maxmemory_bytes=102 * MB)

    assert says(measured(), "memory").endswith(
        "250 bytes of Redis's memory, a million 250 MB; maxmemory is not set."
    )
    assert says(measured(server=limited), "memory").endswith("400,000 more fit below maxmemory (102 MB).")
    freed = Memory(payload_bytes=0, queued_bytes_per_task=-3.0, ended_bytes_per_task=0.0)
    assert "memory" not in rules(measured(memory=freed))


def test_who_else_took_part_is_said() -> None:
    shared = msgspec.structs.replace(LOOPBACK, other_clients=14, other_commands_per_s=3_200)
    slow = Slow(commands=3, longest_ms=14.2, threshold_ms=10.0)
    found = measured(server=shared, late_fsyncs=1, slowlog=slow)

    assert says(found, "shared").startswith("The server has 14 other clients, and ran 3,200 commands/s")
    assert says(found, "disk").startswith("The disk was late with 1 fsync of the AOF meanwhile")
    assert says(found, "slowlog") == (
        "SLOWLOG has 3 commands of this run over 10 ms, the longest took 14.2 ms."
    )
    assert "slowlog" not in rules(measured(slowlog=None))


@pytest.mark.parametrize("cpus", [1, 2, 8])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.84, 0.85, 1.0])
@pytest.mark.parametrize("server", [LOOPBACK, REMOTE], ids=["here", "remote"])
def test_every_sentence_stands_on_a_figure(cpus: int, share: float, server: Server) -> None:
    client = msgspec.structs.replace(CLIENT, cpus=cpus)
    found = measured(
        drain(core_share_per_process=share), drain(2, redis_thread_share=share), client=client, server=server
    )

    for said in limits.limits(found):
        assert re.search(r"\d", said.says)
        assert said.says.endswith(".")


def test_people_read_it_in_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    figures = measured(
        drain(),
        drain(4, "async", core_share_per_process=None, worker_cpu_us_per_task=None),
        server=msgspec.structs.replace(LOOPBACK, other_clients=1),
    )
    doctor = [Finding("aof", Status.PROBLEM, "AOF is off: " + "set appendonly yes " * 9)]

    report(Report(figures=figures, limits=[Said(rule="way", says="word " * 40)], doctor=doctor))

    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    (row,) = [line.split() for line in out.splitlines() if line.startswith("enqueue_many")]
    assert row == ["enqueue_many,", "250", "150,000", "50", "30", "5.0"]
    assert re.search(r"^PING +50 +100$", out, re.MULTILINE)
    assert "250 bytes a queued task, 200 an ended one" in out
    assert "1 other client, 0 commands/s before" in out
    assert "- problem: AOF is off:" in out


def test_machines_read_units_in_names() -> None:
    names: set[str] = set()

    def walk(value: Any) -> None:
        for name, inner in value.items() if isinstance(value, dict) else []:
            if isinstance(inner, float) and name not in ("p50", "p99"):
                names.add(name)
            walk(inner)
        for inner in value if isinstance(value, list) else []:
            walk(inner)

    walk(msgspec.to_builtins(measured()))
    units = r"(^|_)(seconds|per_s|ms|us|us_per_task|bytes_per_task|share|share_per_process)$"
    assert names
    assert [name for name in names if not re.search(units, name)] == []
