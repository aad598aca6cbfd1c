"""How each queue is run: its worker's command, and each setting with where its documentation says so.

The rule: what the documentation offers for throughput, while a task is acknowledged after it ran, as far as the queue
can; all else is as it comes. Of slots, each has as many as drained empty tasks fastest when a few were tried: more
is not always faster. Waits get a hundred slots in one process where one process can have them. For the test
that kills the worker, the time after which a queue takes back what a dead worker held is shortened where it can be:
that changes how soon it is taken back, not whether.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Phase = Literal["always", "waits", "killing"]

SLOTS = 100
"""Tasks that wait at once in one process, where a process can hold more than one."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: `when` says for which part of the run; a later one of that name counts more.

    A text may have `{processes}`, for how many are asked for.
    """

    name: str
    value: int | float | bool | str
    source: str
    when: Phase = "always"


@dataclass(frozen=True, slots=True)
class Peer:
    """One queue.

    Args:
        name: as `environments.PEERS` has it; its driver is `drivers/with_<name>.py`.
        title: as it calls itself.
        command: what starts a worker; `{bin}` is the environment's folder of programs, other names are settings.
        started_by: where its documentation says so.
        settings: what the driver and the command are given.
        count: tasks of a drain by one process: some seconds' worth.
        waits: tasks of 50 ms that a process drains: some seconds' worth.
        killing: tasks of which some run when the worker is killed.
        recovery_s: how long a dead worker's tasks may take to come back, under the settings for `killing`.
        copies: whether two processes are two starts of the command, for it has no option for more.
        bulk: how many are enqueued at once, in the documentation's words; empty where there is no call for that.
    """

    name: str
    title: str
    command: tuple[str, ...]
    started_by: str
    settings: tuple[Setting, ...]
    count: int
    bulk: str
    waits: int = 2_000
    killing: int = 400
    recovery_s: float = 20
    copies: bool = False

    def values(self, phase: Phase = "always", processes: int = 1) -> dict[str, Any]:
        """The settings that hold in a part of the run, by name."""
        found: dict[str, Any] = {}
        for setting in self.settings:
            if setting.when in ("always", phase):
                found[setting.name] = _filled(setting.value, {"processes": processes})
        return found

    def words(self, bin: str, values: Mapping[str, Any], processes: int) -> list[str]:
        """The words of the worker's command."""
        return [word.format(bin=bin, processes=processes, **values) for word in self.command]


def _filled(value: Any, names: Mapping[str, Any]) -> Any:
    return value.format(**names) if isinstance(value, str) else value


_CELERY = "https://docs.celeryq.dev/en/stable"
_CELERY_OPTIONS = f"{_CELERY}/userguide/configuration.html"
_VISIBILITY = f"{_CELERY}/getting-started/backends-and-brokers/redis.html#visibility-timeout"
_KOMBU = "https://docs.celeryq.dev/projects/kombu/en/stable/reference/kombu.transport.redis.html"
_CELERY_WORKERS = f"{_CELERY}/userguide/workers.html"
_RQ = "https://python-rq.org/docs"
_DRAMATIQ = "https://dramatiq.io"
_HUEY = "https://huey.readthedocs.io/en/latest/consumer.html"
_ARQ = "https://arq-docs.helpmanual.io"
_TASKIQ = "https://taskiq-python.github.io/guide/cli.html"
_TASKIQ_REDIS = "https://github.com/taskiq-python/taskiq-redis"
_SAQ = "https://github.com/tobymao/saq/blob/master"  # its manual leaves the settings to its docstrings
_STREAQ = "https://github.com/tastyware/streaq/blob/master/docs"
_STREAQ_WORKER = "https://github.com/tastyware/streaq/blob/master/streaq/worker.py"
_DOCKET = "https://github.com/chrisguidry/docket/blob/main/docs/production.md"
_BULLMQ = "https://docs.bullmq.io"
_TASKQ = "workers.md"

TASKQ = Peer(
    name="taskq",
    title="taskq",
    command=(
        *("{bin}/python", "-m", "taskq", "worker", "with_taskq:app", "--log-level", "warning"),
        *("--processes", "{processes}", "--concurrency", "{concurrency}"),
    ),
    started_by=_TASKQ,
    settings=(
        Setting("concurrency", 8, _TASKQ),
        Setting("concurrency", SLOTS, _TASKQ, when="waits"),
        Setting("batch", 250, "enqueueing.md"),
        Setting("lease", "30s", "guarantees.md"),
        Setting("lease", "3s", "guarantees.md", when="killing"),
    ),
    count=50_000,
    bulk="`enqueue_many`",
)

OTHERS = (
    Peer(
        name="celery",
        title="Celery",
        command=(
            *("{bin}/celery", "-A", "with_celery", "worker", "--loglevel=WARNING", "--pool={pool}"),
            *("--concurrency={concurrency}", "--prefetch-multiplier={worker_prefetch_multiplier}"),
            *("--without-gossip", "--without-mingle"),
        ),
        started_by=_CELERY_WORKERS,
        settings=(
            Setting("pool", "prefork", f"{_CELERY_WORKERS}#concurrency"),
            Setting("pool", "threads", f"{_CELERY}/userguide/concurrency/index.html", when="waits"),
            Setting("concurrency", "{processes}", f"{_CELERY_WORKERS}#concurrency"),
            Setting("concurrency", str(SLOTS), f"{_CELERY_WORKERS}#concurrency", when="waits"),
            Setting(
                "worker_prefetch_multiplier", 128, f"{_CELERY}/userguide/optimizing.html#prefetch-limits"
            ),
            Setting("worker_prefetch_multiplier", 1, f"{_CELERY}/userguide/optimizing.html", when="waits"),
            Setting("task_acks_late", True, f"{_CELERY_OPTIONS}#task-acks-late"),
            Setting("task_reject_on_worker_lost", True, f"{_CELERY_OPTIONS}#task-reject-on-worker-lost"),
            Setting("visibility_timeout", 3_600, _VISIBILITY),
            Setting("visibility_timeout", 5, _VISIBILITY, when="killing"),
            Setting("unacked_restore_interval", 10, _KOMBU),
            Setting("unacked_restore_interval", 1, _KOMBU, when="killing"),
            Setting("unacked_restore_throttle", 10, _KOMBU),
            Setting("unacked_restore_throttle", 1, _KOMBU, when="killing"),
        ),
        count=1_500,
        bulk="",
        waits=1_000,
        killing=100,
        recovery_s=60,
    ),
    Peer(
        name="rq",
        title="RQ",
        command=("{bin}/python", "-c", "import with_rq; with_rq.work()"),
        started_by=f"{_RQ}/workers/",
        settings=(
            Setting("batch", 1_000, f"{_RQ}/"),
            Setting("retry_max", 3, f"{_RQ}/exceptions/"),
            Setting("job_monitoring_interval", 30, f"{_RQ}/workers/"),
            Setting("job_monitoring_interval", 1, f"{_RQ}/workers/", when="killing"),
            Setting("maintenance_interval", 600, f"{_RQ}/workers/"),
            Setting("maintenance_interval", 5, f"{_RQ}/workers/", when="killing"),
        ),
        count=125,
        bulk="`enqueue_many`",
        waits=40,
        killing=40,
        recovery_s=100,
        copies=True,
    ),
    Peer(
        name="dramatiq",
        title="Dramatiq",
        command=(
            *("{bin}/dramatiq", "with_dramatiq", "--processes", "{processes}", "--threads", "{threads}"),
            "--skip-logging",
        ),
        started_by=f"{_DRAMATIQ}/guide.html",
        settings=(
            Setting("threads", 8, f"{_DRAMATIQ}/guide.html"),
            Setting("threads", SLOTS, f"{_DRAMATIQ}/guide.html", when="waits"),
            Setting("heartbeat_timeout", 60_000, f"{_DRAMATIQ}/reference.html"),
            Setting("heartbeat_timeout", 3_000, f"{_DRAMATIQ}/reference.html", when="killing"),
            Setting("maintenance_chance", 1_000, f"{_DRAMATIQ}/reference.html"),
            Setting("maintenance_chance", 1_000_000, f"{_DRAMATIQ}/reference.html", when="killing"),
        ),
        count=4_000,
        bulk="",
    ),
    Peer(
        name="huey",
        title="Huey",
        command=(
            "{bin}/huey_consumer",
            "with_huey.huey",
            "-q",
            "-n",
            "-k",
            "{worker_type}",
            "-w",
            "{workers}",
        ),
        started_by=_HUEY,
        settings=(
            Setting("worker_type", "thread", _HUEY),
            Setting("workers", 1, _HUEY),
            Setting("workers", SLOTS, _HUEY, when="waits"),
        ),
        count=4_000,
        bulk="",
        copies=True,
    ),
    Peer(
        name="arq",
        title="arq",
        command=("{bin}/arq", "with_arq.WorkerSettings"),
        started_by=f"{_ARQ}/",
        settings=(
            Setting("max_jobs", SLOTS, f"{_ARQ}/"),
            Setting("poll_delay", 0.01, f"{_ARQ}/"),
            Setting("job_timeout", 300, f"{_ARQ}/"),
            Setting("job_timeout", 2, f"{_ARQ}/", when="killing"),
            Setting("batch", 100, f"{_ARQ}/"),
        ),
        count=1_500,
        bulk="",
        recovery_s=30,
        copies=True,
    ),
    Peer(
        name="taskiq",
        title="taskiq",
        command=(
            *("{bin}/taskiq", "worker", "with_taskiq:broker", "--workers", "{processes}"),
            *("--max-async-tasks", "{max_async_tasks}", "--max-prefetch", "{max_prefetch}"),
            *("--ack-type", "{ack_type}", "--log-level", "WARNING"),
        ),
        started_by=_TASKIQ,
        settings=(
            Setting("max_async_tasks", SLOTS, _TASKIQ),
            Setting("max_prefetch", SLOTS, _TASKIQ),
            Setting("ack_type", "when_saved", _TASKIQ),
            Setting("xread_count", 100, _TASKIQ_REDIS),
            Setting("idle_timeout", 600_000, _TASKIQ_REDIS),
            Setting("idle_timeout", 3_000, _TASKIQ_REDIS, when="killing"),
            Setting("unacknowledged_lock_timeout", 5, _TASKIQ_REDIS),
            Setting("batch", 100, _TASKIQ_REDIS),
        ),
        count=3_000,
        bulk="",
    ),
    Peer(
        name="saq",
        title="SAQ",
        command=("{bin}/saq", "with_saq.settings", "--workers", "{processes}", "--quiet"),
        started_by=f"{_SAQ}/docs/worker.md",
        settings=(
            Setting("concurrency", SLOTS, f"{_SAQ}/saq/worker.py"),
            # To its advantage: with a hundred slots, 57 of 400 tasks had not come back after a minute (tried once).
            Setting("concurrency", 4, f"{_SAQ}/saq/worker.py", when="killing"),
            Setting("timeout", 10, f"{_SAQ}/saq/job.py"),
            Setting("timeout", 2, f"{_SAQ}/saq/job.py", when="killing"),
            Setting("retries", 3, f"{_SAQ}/saq/job.py"),
            Setting("sweep", 60, f"{_SAQ}/saq/worker.py"),
            Setting("sweep", 1, f"{_SAQ}/saq/worker.py", when="killing"),
            Setting("batch", 100, f"{_SAQ}/saq/queue/redis.py"),
        ),
        count=4_000,
        bulk="",
        killing=100,
        recovery_s=60,
    ),
    Peer(
        name="streaq",
        title="streaQ",
        command=("{bin}/streaq", "run", "with_streaq:worker", "--workers", "{processes}"),
        started_by=f"{_STREAQ}/cli.rst",
        settings=(
            Setting("concurrency", 16, f"{_STREAQ}/worker.rst"),
            Setting("concurrency", SLOTS, f"{_STREAQ}/worker.rst", when="waits"),
            Setting("idle_timeout", 60, _STREAQ_WORKER),
            Setting("idle_timeout", 3, _STREAQ_WORKER, when="killing"),
            Setting("batch", 1_000, f"{_STREAQ}/task.rst"),
        ),
        count=2_500,
        bulk="`enqueue_many`",
    ),
    Peer(
        name="docket",
        title="docket",
        command=("{bin}/python", "-c", "import with_docket; with_docket.work()"),
        started_by=_DOCKET,
        settings=(
            Setting("concurrency", SLOTS, _DOCKET),
            Setting("max_connections", 2 * SLOTS, f"{_DOCKET}#redis-connection-pools"),
            Setting("redelivery_timeout", 300, _DOCKET),
            Setting("redelivery_timeout", 3, _DOCKET, when="killing"),
            Setting("batch", 1_000, _DOCKET),
        ),
        count=1_500,
        bulk="`add_many`",
        copies=True,
    ),
    Peer(
        name="bullmq",
        title="BullMQ (Python)",
        command=("{bin}/python", "-c", "import with_bullmq; with_bullmq.work()"),
        started_by=f"{_BULLMQ}/python/introduction",
        settings=(
            Setting("concurrency", 10, f"{_BULLMQ}/guide/workers/concurrency"),
            Setting("concurrency", SLOTS, f"{_BULLMQ}/guide/workers/concurrency", when="waits"),
            Setting("lockDuration", 30_000, f"{_BULLMQ}/guide/workers/stalled-jobs"),
            Setting("lockDuration", 2_000, f"{_BULLMQ}/guide/workers/stalled-jobs", when="killing"),
            Setting("stalledInterval", 30_000, f"{_BULLMQ}/guide/workers/stalled-jobs"),
            Setting("stalledInterval", 1_000, f"{_BULLMQ}/guide/workers/stalled-jobs", when="killing"),
            Setting("maxStalledCount", 1, f"{_BULLMQ}/guide/workers/stalled-jobs"),
            Setting("batch", 1_000, f"{_BULLMQ}/guide/queues/adding-bulks"),
        ),
        count=3_000,
        bulk="`addBulk`",
        copies=True,
    ),
)

ALL = {peer.name: peer for peer in (TASKQ, *OTHERS)}
