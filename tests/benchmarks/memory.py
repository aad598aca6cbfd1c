"""Memory and the time to get ready: what a task costs the server, what an idle worker costs the machine."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taskq.broker.commands import working
from taskq.message import Message, encode_message
from taskq.names import new_process_id
from taskq.record import Outcome, encode_outcome
from tests.benchmarks.rows import Row, at_most
from tests.benchmarks.stand import READ, Bench, Stand
from tests.benchmarks.tasks import empty, stamp
from tests.workers import ROOT

HELD = 100
"""What one process holds: concurrency 100."""

LEASE_MS = 600_000
HELP = ("-m", "taskq", "--help")

_OUTCOME = encode_outcome(
    Outcome(1_764_000_000_000, 0.01, 1, empty.codec.encode_result(None), None, empty.name, "0" * 12)
)
"""As a worker writes it."""


def rows(bench: Bench) -> list[Row]:
    """Bytes a task at the server, PSS of an idle worker, seconds of imports and starts."""
    return [*_at_server(bench), _idle_worker(bench), *_starts(bench)]


def _at_server(bench: Bench) -> list[Row]:
    """The same tasks queued, then all running, then all ended; under the namespace that users have by default."""
    count = bench.size(100_000, 5_000)
    with bench.stand("taskq") as stand:
        stand.fill(empty, 1)
        before = stand.used_memory()
        ids = stand.fill(empty, count)
        size = len(encode_message(Message(empty.name)))
        queued = stand.used_memory() - before
        claims = [_claim(stand) for _ in range(0, count, HELD)]
        running = stand.used_memory() - before
        for process, claimed in claims:
            _settle(stand, process, claimed)
        ended = stand.used_memory() - before
        recent = int(stand.server.call("MEMORY", "USAGE", stand.keys.recent, "SAMPLES", 0))
        outcome = _outcome_size(stand, ids)
    return [
        Row("Redis: a queued task beside its message", queued / count - size, "bytes", at_most(180),
            note=f"message {size}; {count:,} tasks"),
        Row("Redis: a running task beside its message", running / count - size, "bytes", at_most(400),
            note=f"processes that hold {HELD} each"),
        Row("Redis: an ended task beside its outcome", ended / count - outcome, "bytes", at_most(230),
            note=f"outcome {outcome:.0f}; {recent / count:.0f} of it in `recent`, which is capped"),
    ]  # fmt: skip


def _claim(stand: Stand) -> tuple[str, list[working.Claimed]]:
    """Claim as a worker process of its own; gives its name and what it holds."""
    process, keys = new_process_id(), stand.keys
    stand.broker.call(working.hello(keys, process, LEASE_MS, b"", ["default"]))
    words = working.claim_words(keys, ["default"])
    return process, stand.broker.call(working.claim(keys, process, 1, HELD, words)).tasks


def _settle(stand: Stand, process: str, claimed: Sequence[working.Claimed]) -> None:
    outcomes: list[working.Outcome7] = [
        (one.id, one.g, "S", LEASE_MS, empty.name, 0, _OUTCOME) for one in claimed
    ]
    stand.broker.call(working.settle(stand.keys, process, outcomes))
    stand.broker.call(working.reap(stand.keys, process, None))


def _outcome_size(stand: Stand, ids: Sequence[str]) -> float:
    with stand.server.client() as client:
        records: list[Any] = client.mget([stand.keys.record(id) for id in ids[:READ]])
    return statistics.mean(len(record.split(b"|", 3)[3]) for record in records)


def _idle_worker(bench: Bench) -> Row:
    each: list[int] = []
    for _ in range(2):  # the first one fills the cache of bytecode
        with bench.stand() as stand:
            stand.worker()
            time.sleep(1)  # what the start has left behind is let go
            each = [_pss(pid) for pid in stand.pids()]
    return Row("PSS of a supervisor and one idle child", sum(each) / 1e6, "MB", at_most(42),
               note=" + ".join(f"{bytes_ / 1e6:.1f}" for bytes_ in each))  # fmt: skip


def _pss(pid: int) -> int:
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    assert found, "this system does not tell the PSS"
    return int(found[1]) * 1024


def _starts(bench: Bench) -> list[Row]:
    rounds = bench.size(15, 2)
    bare: list[float] = []
    whole: list[float] = []
    helps: list[float] = []
    _seconds(*HELP)  # fills the cache of bytecode
    for _ in range(rounds):
        bare.append(_seconds("-c", "pass"))
        whole.append(_seconds("-c", "import taskq"))
        helps.append(_seconds(*HELP))
    ready = [_ready(bench) for _ in range(bench.size(7, 1))]
    interpreter = statistics.median(bare)
    imported = statistics.median(whole) - interpreter
    note = f"of which {interpreter * 1e3:.0f} ms are the interpreter's"
    return [
        Row("import taskq, over the interpreter", imported * 1e3, "ms", at_most(60)),
        Row("taskq --help", statistics.median(helps) * 1e3, "ms", at_most(200), note=note),
        Row(
            "taskq worker, from the shell to the first start",
            statistics.median(ready) * 1e3,
            "ms",
            at_most(700),
        ),
    ]


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _ready(bench: Bench) -> float:
    """From the command to the moment when a task that waits starts."""
    with bench.stand() as stand:
        handle = stamp.enqueue()
        arguments = ["taskq", "worker", "tests.benchmarks.tasks:app"]
        arguments += ["--url", bench.server.url, "--namespace", stand.namespace]
        began = time.monotonic_ns()
        worker = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            started, _, _ = handle.result(timeout=30)
        finally:
            worker.terminate()
            worker.wait(30)
    return (started - began) / 1e9
