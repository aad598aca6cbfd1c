"""What limits, in words. Each rule reads the figures alone, and each sentence says the figure it stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from taskq.cli.bench.measured import Drain, Enqueues, Measured, Said
from taskq.inspector.doctor import many

FULL = 0.85
"""A core, or Redis's one thread, that is used this much has nothing left worth having: the rest is waiting."""
_FAR_MS = 0.5
"""A PING that takes this long goes through a network, or meets a busy server."""
_MOSTLY = 0.5
_WORTH_SAYING = 0.05
_FAST = 'install taskq\'s extra "fast"'


def limits(found: Measured) -> list[Said]:
    """Say what limits the drains and the enqueues, and what else the figures show."""
    return [said for rule in _RULES for said in rule(found)]


def _draining(found: Measured) -> Iterator[Said]:
    """What the processes wait for, with one and with several."""
    for processes in sorted({drain.processes for drain in found.drains}):
        yield _limit_of(fastest(found.drains, processes), found)


def fastest(drains: Sequence[Drain], processes: int) -> Drain:
    """Of the kinds of tasks, the one that these processes drained fastest."""
    return max((one for one in drains if one.processes == processes), key=lambda one: one.per_s)


def _limit_of(drain: Drain, found: Measured) -> Said:
    who = f"{many(drain.processes, 'process', 'es')} ({drain.kind} tasks, {drain.per_s:,.0f}/s)"
    core, redis = drain.core_share_per_process, _of_redis(drain)
    if drain.redis_thread_share >= FULL:
        full = f"Redis's one thread is full with {who}: it was at {_share(drain.redis_thread_share)}"
        return Said(rule="redis", says=f"{full}. More processes do not drain faster.")
    if core is not None and core >= FULL:
        each = "its whole core" if drain.processes == 1 else "a whole core each"
        says = f"{who} used {each} ({_share(core)}); {redis}"
        if found.client.cpus - _used(drain, found) >= 1 - FULL:
            return Said(rule="process", says=f"{says}. More processes drain more, until Redis is full.")
        return Said(rule="machine", says=f"{says}. {_cpus(drain, found)}")
    used = f"{who} used {_of_process(drain)}; {redis}"
    far = found.ping_ms.p50 >= _FAR_MS
    starved = max(drain.cpu_wait_share_per_process or 0.0, drain.redis_wait_share or 0.0) >= 1 - FULL
    if starved and (found.server.is_here or not far):  # a server that is here is slow for lack of CPU, too
        return Said(rule="machine", says=f"{used}. {_cpus(drain, found)}")
    if far:
        ping = f"a PING takes {_ms(found.ping_ms.p50)}"
        return Said(rule="way", says=f"{used}. Most of the time was the way to the server: {ping}.")
    if found.server.aof == "always":
        return Said(rule="disk", says=f"{used}. They wait for the disk: appendfsync is always.")
    return Said(rule="nothing", says=f"{used}. Nothing is full, and a PING takes {_ms(found.ping_ms.p50)}.")


def _of_process(drain: Drain) -> str:
    if drain.core_share_per_process is None:
        return "CPU that is not known here"
    each = "" if drain.processes == 1 else " each"
    return (
        f"{_share(drain.core_share_per_process)} of a core{each}{_waited(drain.cpu_wait_share_per_process)}"
    )


def _of_redis(drain: Drain) -> str:
    return f"Redis's one thread was at {_share(drain.redis_thread_share)}{_waited(drain.redis_wait_share)}"


def _waited(share: float | None) -> str:
    worth = share is not None and share >= _WORTH_SAYING
    return f", and had work but no CPU for {_share(share)} of the time" if worth else ""


def _used(drain: Drain, found: Measured) -> float:
    """How many cores of this machine the run used."""
    redis = drain.redis_thread_share if found.server.is_here else 0.0
    return (drain.core_share_per_process or 0.0) * drain.processes + redis


def _cpus(drain: Drain, found: Measured) -> str:
    cpus, used = many(found.client.cpus, "CPU"), _used(drain, found)
    workers = "the processes and Redis" if found.server.is_here else "the processes"
    if used >= FULL * found.client.cpus:
        return f"The {cpus} of this machine are taken by {workers}: more processes need more CPUs."
    got = f"Of the {cpus} of this machine, {workers} got {used:.1f}"
    return f"{got}: other programs take the rest, and these figures are low."


def _scaling(found: Measured) -> Iterator[Said]:
    """What several processes gain over one."""
    most = max(drain.processes for drain in found.drains)
    if most > 1:
        one, several = fastest(found.drains, 1), fastest(found.drains, most)
        gain = several.per_s / one.per_s
        rates = f"{one.per_s:,.0f} and {several.per_s:,.0f} tasks/s"
        yield Said(rule="scaling", says=f"{most} processes drain {gain:.2f} × what one does ({rates}).")


def _enqueueing(found: Measured) -> Iterator[Said]:
    """What an enqueue waits for, and what batches save."""
    took, ping = 1_000 / found.enqueue.per_s, found.ping_ms.p50
    gain = f"enqueue_many stores {found.enqueue_many.per_s / found.enqueue.per_s:,.0f} × as many a second"
    if found.server.aof == "always" and took - ping >= took * _MOSTLY:
        says = f"appendfsync is always: a single enqueue takes {_ms(took)}, a PING {_ms(ping)}"
        yield Said(rule="fsync", says=f"{says}; the rest is mostly the disk. {gain}, for a batch waits once.")
    elif ping >= _FAR_MS and ping >= took * _MOSTLY:
        says = f"The way to the server: a PING takes {_ms(ping)}, and a single enqueue {_ms(took)}"
        yield Said(rule="way", says=f"{says}. Batches hide it, single enqueues cannot: {gain}.")
    else:
        says = f"A single enqueue takes {_ms(took)}, of which a PING would take {_ms(ping)}"
        yield Said(rule="enqueue", says=f"{says}; {gain}.")


def _batches(found: Measured) -> Iterator[Said]:
    """Who is full when much is enqueued."""
    for name, way in (("enqueue_many", found.enqueue_many), ("Concurrent aenqueue", found.aenqueue)):
        yield from _full(name, way)


def _full(name: str, way: Enqueues) -> Iterator[Said]:
    rate, redis = f"{way.per_s:,.0f}/s", _share(way.redis_thread_share)
    if way.redis_thread_share >= FULL:
        says = f"{name} fills Redis's one thread ({redis}) at {rate}"
        yield Said(rule="redis", says=f"{says}: more programs do not enqueue more.")
    elif way.program_core_share >= FULL:
        says = f"{name} uses the program's whole core ({_share(way.program_core_share)}) at {rate}"
        yield Said(
            rule="program", says=f"{says}; Redis's one thread was at {redis}: more programs enqueue more."
        )


def _installed(found: Measured) -> Iterator[Said]:
    """What is missing that makes it faster."""
    cost = {one.kind: one.worker_cpu_us_per_task for one in found.drains if one.processes == 1}

    def costs(kind: str) -> str:
        us = cost.get(kind)
        return f"; one of these tasks took {us:.0f} µs of worker CPU" if us is not None else ""

    if found.client.hiredis is None:
        says = "hiredis is not installed, so replies are read in Python"
        yield Said(rule="hiredis", says=f"{says}{costs('sync')}: {_FAST}.")
    if found.client.uvloop is None:
        says = "uvloop is not installed, so async tasks run on asyncio's own loop"
        yield Said(rule="uvloop", says=f"{says}{costs('async')}: {_FAST}.")


def _memory(found: Measured) -> Iterator[Said]:
    """How many tasks may wait."""
    each, limit = found.memory.queued_bytes_per_task, found.server.maxmemory_bytes
    if each <= 0:
        return  # others freed more meanwhile than the tasks took
    says = f"A queued task takes {each:,.0f} bytes of Redis's memory"
    if limit:
        room = max(0, limit - found.server.used_memory_bytes)
        says = f"{says}: {room / each:,.0f} more fit below maxmemory ({limit / 1e6:,.0f} MB)"
    else:
        says = f"{says}, a million {each:,.0f} MB; maxmemory is not set"
    yield Said(rule="memory", says=f"{says}.")


def _disturbed(found: Measured) -> Iterator[Said]:
    """What else took part in the figures."""
    server = found.server
    if server.other_clients:
        who = many(server.other_clients, "other client")
        says = f"The server has {who}, and ran {server.other_commands_per_s:,} commands/s before this run"
        yield Said(rule="shared", says=f"{says}: the figures are shared with them.")
    if found.late_fsyncs:
        says = f"The disk was late with {many(found.late_fsyncs, 'fsync')} of the AOF meanwhile"
        yield Said(rule="disk", says=f"{says}: Redis stands still then, for up to 2 s.")
    slow = found.slowlog
    if slow is not None and slow.commands:
        over = "" if slow.threshold_ms is None else f" over {slow.threshold_ms:g} ms"
        says = f"SLOWLOG has {many(slow.commands, 'command')} of this run{over}"
        yield Said(rule="slowlog", says=f"{says}, the longest took {_ms(slow.longest_ms)}.")


_RULES: tuple[Callable[[Measured], Iterator[Said]], ...] = (
    _draining,
    _scaling,
    _enqueueing,
    _batches,
    _installed,
    _memory,
    _disturbed,
)


def _share(share: float | None) -> str:
    return "?" if share is None else f"{share * 100:.0f} %"


def _ms(ms: float) -> str:
    return f"{ms:.3g} ms"
