"""`taskq bench` as a process of its own, on a real server: it measures, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path

import psutil
import pytest
from redis.exceptions import OutOfMemoryError

from taskq import TaskQ
from taskq.cli.bench.ground import own_namespace
from taskq.cli.bench.leftovers import remove_leftovers
from tests.commandline import MAIN, environment, settle_in
from tests.servers import RedisServer

QUICK = ("bench", "--quick")
Start = Callable[..., RedisServer]
Bench = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the command makes its directory."""
    settle_in(monkeypatch, tmp_path)
    place = tmp_path / "tmp"
    place.mkdir()
    return place


@pytest.fixture
def bench(place: Path) -> Bench:
    def bench(*options: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*MAIN, *QUICK, *options],
            env=environment(TMPDIR=str(place), **variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return bench


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        out, err = process.communicate(timeout=55)
    return process.returncode, out, err


def read_up_to(process: subprocess.Popen[str], moment: str) -> None:
    """Read what it tells of its progress, up to a line that has this."""
    assert process.stderr is not None
    assert any(moment in line for line in process.stderr)


@contextlib.contextmanager
def under_way(
    process: subprocess.Popen[str], moment: str, others_end_within: float = 5
) -> Generator[subprocess.Popen[str]]:
    """A run that has come to this moment; the body ends it, and all its processes are to end with it."""
    with process:
        read_up_to(process, moment)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        yield process
        process.communicate(timeout=50)
    assert psutil.wait_procs(children, timeout=others_end_within)[1] == []


def keys_of(server: RedisServer) -> dict[bytes, bytes]:
    """What the server holds, to the byte."""
    with server.client() as client:
        return {key: client.dump(key) or b"" for key in client.scan_iter(count=1_000)}


def used_by_someone(server: RedisServer) -> None:
    """Leave tasks of someone else's, and keys that only look like ours."""
    app = TaskQ("shop", redis_url=server.url, namespace="shop")
    app.named("shop.pay", "mail").enqueue(1)
    app.close()
    with server.client() as client:
        client.set("tq:{bench-not-ours:0}:t:1", b"1")
        client.set("bench", b"2")


def test_the_figures_are_there_and_fit_each_other(bench: Bench, place: Path, redis_server: Start) -> None:
    server = redis_server()
    used_by_someone(server)
    before = keys_of(server)

    with server.client() as other:
        other.ping()
        code, out, err = ended(bench("--json", "--url", server.url, "--processes", "2"))

    assert code == 0, err
    assert "1 other client of this server will feel the run" in err
    found = json.loads(out)
    figures = found["figures"]
    assert figures["server"]["aof"] == "everysec"
    assert figures["server"]["network"] == "loopback"
    assert figures["server"]["other_clients"] == 1
    assert [(one["kind"], one["processes"]) for one in figures["drains"]] == [
        ("sync", 1), ("async", 1), ("sync", 2), ("async", 2)
    ]  # fmt: skip
    for one in figures["drains"]:
        assert one["per_s"] == pytest.approx(one["tasks"] / one["seconds"])
        assert one["redis_script_us_per_task"] > 0
        assert one["redis_cpu_us_per_task"] > 0
        assert one["worker_cpu_us_per_task"] > 0
        assert 0 < one["core_share_per_process"] < 1.5
        assert 0 < one["redis_thread_share"] < 1.2
    for way in ("enqueue", "enqueue_many", "aenqueue"):
        assert figures[way]["per_s"] > 0, way
        assert figures[way]["tasks"] > 0, way
    assert figures["enqueue_many"]["per_s"] > figures["enqueue"]["per_s"]
    idle, ping = figures["idle"], figures["ping_ms"]
    assert 0 < ping["p50"] <= ping["p99"]
    assert ping["p50"] < idle["start_ms"]["p50"] <= idle["result_ms"]["p50"]
    assert 100 < figures["memory"]["queued_bytes_per_task"] < 1_000
    assert 50 < figures["memory"]["ended_bytes_per_task"] < 1_000
    assert found["limits"]
    assert keys_of(server) == before
    assert list(place.iterdir()) == []


def test_a_payload_is_carried_and_signed_and_what_people_read_comes_last(
    bench: Bench, place: Path, redis_server: Start
) -> None:
    server = redis_server("--maxmemory", "200mb")
    options = ("--payload", "2KB", "--tasks", "1000", "--processes", "1")

    code, out, err = ended(bench(*options, TASKQ_REDIS_URL=server.url, TASKQ_SIGNING_KEYS="one:" + "k" * 44))

    assert code == 0, err
    assert "signing on" in out
    assert "with a payload of 2,048" in out
    assert "fit below maxmemory (210 MB)" in " ".join(out.split())
    assert "1 process (" in out
    assert not re.search(r"\d\s+processes\s+drain", out)  # one was measured, there is nothing to compare
    assert all(line.startswith("taskq: ") for line in err.splitlines())
    assert keys_of(server) == {}


def test_without_a_server_it_starts_one_and_says_so(bench: Bench, place: Path, server_kind: str) -> None:
    code, out, err = ended(bench("--processes", "1"))

    assert code == 0, err
    assert "embedded, started for this run alone" in " ".join(out.split())
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [
        ("single enqueues", signal.SIGINT, 130),
        ("sync tasks, 1 process", signal.SIGINT, 130),
        ("async tasks, 1 process", signal.SIGINT, 130),  # which enqueues on an event loop
        ("async tasks, 2 processes", signal.SIGTERM, 143),
    ],
)
def test_told_to_stop_it_leaves_no_key_and_no_process(
    bench: Bench, place: Path, redis_server: Start, moment: str, number: signal.Signals, code: int
) -> None:
    server = redis_server()
    used_by_someone(server)
    before = keys_of(server)
    with under_way(bench("--url", server.url, "--processes", "2"), moment) as process:
        process.send_signal(number)

    assert process.returncode == code
    assert keys_of(server) == before
    assert list(place.iterdir()) == []


def test_no_further_ctrl_c_breaks_off_the_way_out(bench: Bench, place: Path, redis_server: Start) -> None:
    server = redis_server()
    with under_way(bench("--url", server.url, "--processes", "1"), "sync tasks, 1 process") as process:
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)

    assert process.returncode in (130, -signal.SIGINT)  # the last one may find only Python's own end
    assert keys_of(server) == {}
    assert list(place.iterdir()) == []


def test_killed_its_worker_ends_by_itself(bench: Bench, place: Path, redis_server: Start) -> None:
    server = redis_server()
    run = bench("--url", server.url, "--processes", "1")
    with under_way(run, "idle worker", others_end_within=15) as process:
        process.kill()


def test_what_killed_runs_have_left_is_removed_by_the_next_and_a_run_that_lives_keeps_its_keys(
    redis_server: Start,
) -> None:
    server = redis_server()
    used_by_someone(server)
    before = keys_of(server)
    with server.client() as client:

        def run(name: str, rested_s: int) -> None:
            app = TaskQ("bench", redis_url=server.url, namespace=name)
            for _ in range(3):
                app.named("bench.nothing", "default").enqueue()
            app.close()
            meta = f"tq:{{{name}:0}}:meta"
            client.restore(meta, 0, client.dump(meta) or b"", replace=True, idletime=rested_s)

        run("bench-0000aaaa", 70)
        run("bench-0000bbbb", 70)
        client.delete("tq:{bench-0000bbbb:0}:meta")  # its removal was broken off
        run("bench-0000cccc", 0)  # between two rounds
        run("bench-0000dddd", 70)
        client.zadd("tq:{bench-0000dddd:0}:procs", {"p": (time.time() + 60) * 1_000})
        live = {key for key in client.scan_iter() if b"-0000cccc" in key or b"-0000dddd" in key}

    broker = own_namespace(server.url)
    removed = remove_leftovers(broker)
    broker.close()

    assert removed.keys() == {"bench-0000aaaa", "bench-0000bbbb"}
    assert min(removed.values()) >= 3
    assert keys_of(server).keys() == before.keys() | live
    assert len(live) >= 6


def test_a_server_that_is_full_of_what_a_killed_run_has_left_is_freed_of_it_and_measured(
    bench: Bench, redis_server: Start
) -> None:
    server = redis_server("--maxmemory", "20mb")
    left = "tq:{bench-0000aaaa:0}:q:default:5"
    with server.client() as client, contextlib.suppress(OutOfMemoryError):
        while True:
            client.rpush(left, b"x" * 10_000)

    with bench("--url", server.url, "--processes", "1") as process:
        read_up_to(process, "taskq: removed 1 key of bench-0000aaaa, a run that was killed")
        read_up_to(process, "single enqueues")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    assert keys_of(server) == {}


def test_a_worker_that_ends_is_told_with_its_log(bench: Bench, place: Path, redis_server: Start) -> None:
    server = redis_server()
    with bench("--url", server.url, "--processes", "1") as process:
        read_up_to(process, "idle worker")
        (worker,) = psutil.Process(process.pid).children()
        worker.terminate()
        out, err = process.communicate(timeout=50)

    assert (process.returncode, out) == (1, "")
    assert "the worker's log ends so:" in err
    assert "the worker has ended by itself" in err
    assert keys_of(server) == {}
    assert list(place.iterdir()) == []


def test_a_server_that_is_not_there_is_said_in_a_line(bench: Bench, place: Path) -> None:
    code, out, err = ended(bench("--url", "redis://127.0.0.1:1/0"))

    assert (code, out) == (3, "")
    assert "is it running, and is its URL right" in err.splitlines()[-1]
    assert "removed" not in err  # nothing was ever there
    assert list(place.iterdir()) == []


def test_a_server_that_goes_away_is_said_with_the_keys_it_has(
    bench: Bench, place: Path, redis_server: Start
) -> None:
    server = redis_server()
    with bench("--url", server.url) as process:
        read_up_to(process, "idle worker")
        server.kill()
        out, err = process.communicate(timeout=50)

    assert process.returncode == 3, err
    assert out == ""
    assert "could not be removed" in err
    assert list(place.iterdir()) == []


def test_a_full_server_is_refused(bench: Bench, redis_server: Start) -> None:
    server = redis_server("--maxmemory", "600kb")

    code, out, err = ended(bench("--url", server.url))

    assert (code, out) == (3, "")
    (line,) = err.splitlines()
    assert "is full" in line
    assert keys_of(server) == {}


def test_a_replica_is_refused_and_its_master_named(bench: Bench, redis_server: Start) -> None:
    master = redis_server()
    replica = redis_server("--replicaof", f"127.0.0.1 {master.port}")

    code, _, err = ended(bench("--url", replica.url))

    assert code == 3
    assert f"name its master, 127.0.0.1:{master.port}" in err


def test_more_tasks_than_fit_are_refused_before_one_is_sent(bench: Bench, redis_server: Start) -> None:
    server = redis_server("--maxmemory", "20mb")

    code, _, err = ended(bench("--url", server.url, "--tasks", "1000000"))

    assert code == 2
    assert "give a smaller --tasks or --payload" in err
    assert keys_of(server) == {}
