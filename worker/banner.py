"""What a worker says of itself when it is ready."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from taskq.broker.client import Broker
from taskq.broker.command import text
from taskq.broker.commands import reading
from taskq.errors import TaskqError
from taskq.inspector.server_checks import eviction
from taskq.worker.child import Report
from taskq.worker.config import WorkerConfig

_MOST_TASKS = 20


def banner(config: WorkerConfig, report: Report, broker: Broker) -> Iterator[str]:
    """Give the lines: version and app, server and durability, queues, processes and slots, tasks."""
    try:
        release = version("taskq")
    except PackageNotFoundError:
        release = "from a source tree"
    yield f"taskq {release}, app {report.app} ({config.app}), namespace {report.namespace}"
    yield f"server    {broker.url.masked}, {_server(broker)}"
    if config.url == "embedded://":
        yield "          producers in other terminals find it by TASKQ_REDIS_URL=embedded://"
    weights = config.weights or (None,) * len(report.queues)
    queues = [
        queue if weight is None else f"{queue}={weight}"
        for queue, weight in zip(report.queues, weights, strict=True)
    ]
    yield f"queues    {', '.join(queues)}"
    yield f"runs      {config.processes} process(es) x {config.concurrency} tasks, lease {report.lease_ms / 1_000:g} s"
    shown = report.tasks[:_MOST_TASKS]
    more = f" and {len(report.tasks) - len(shown)} more" if len(report.tasks) > len(shown) else ""
    yield f"tasks     {', '.join(shown) or 'none: the app declares no task'}{more}"


def danger(broker: Broker) -> str:
    """Say what makes the server unfit to keep tasks; '' if nothing does, as far as it tells."""
    try:
        return eviction(_info(broker, "memory"))
    except TaskqError:
        return ""


def _server(broker: Broker) -> str:
    """The server's name, version and durability, as far as it tells."""
    try:
        info = _info(broker, "server") | _info(broker, "persistence")
        policy = broker.call(reading.read(broker.keys[0], "CONFIG", "GET", "appendfsync"))
    except TaskqError:  # fakeredis, and users without the right, have no INFO
        return "which does not say what it is"
    name = "Valkey" if "valkey_version" in info else "Redis"
    release = info.get("valkey_version") or info.get("redis_version", "of unknown version")
    if info.get("aof_enabled") == "1":
        return f"{name} {release}, AOF {text(policy[1]) if len(policy) > 1 else ''}".rstrip()
    return f"{name} {release}, NOT durable: no AOF"


def _info(broker: Broker, section: str) -> dict[str, str]:
    reply = text(broker.call(reading.read(broker.keys[0], "INFO", section)))
    pairs = (line.partition(":") for line in reply.splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}
