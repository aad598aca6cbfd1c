"""What people read at the end of `taskq bench`."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable

from taskq.cli.bench.measured import Drain, Measured, Report
from taskq.cli.output import Cell, is_terminal, line, table
from taskq.inspector.doctor import many

_WIDTH = 80
_WIDEST = 120
_INDENT = 10
_UNIT = re.compile(r"(\d) (%|ms|s|MB|×)(?!\w)")
"""A figure and its unit, which stay on one line."""
_GLUE = "\N{NO-BREAK SPACE}"

Row = tuple[Cell, ...]


def report(found: Report) -> None:
    """Print where it ran, the figures, and what limits them."""
    figures = found.figures
    for title, text in _where(figures):
        _say(title, text)
    line()
    table(("ENQUEUE", "A SECOND", "PROGRAM %", "REDIS %", "REDIS µs/TASK"), list(_enqueues(figures)))
    line()
    table(
        ("DRAIN", "A SECOND", "PROCESS %", "REDIS %", "REDIS µs/TASK", "WORKER µs/TASK"),
        [_drain(one) for one in figures.drains],
    )
    line()
    idle = figures.idle
    trips = (
        ("PING", figures.ping_ms),
        ("enqueue to start", idle.start_ms),
        ("enqueue to result", idle.result_ms),
    )
    table(("IDLE WORKER", "P50 µs", "P99 µs"), [(name, _us(both.p50), _us(both.p99)) for name, both in trips])
    line()
    for title, text in _rest(figures):
        _say(title, text)
    line()
    line("What limits:")
    for said in found.limits:
        _item(said.says)
    if found.doctor:
        line()
        line("What `taskq doctor` says of the server:")
        for finding in found.doctor:
            _item(f"{finding.status.value}: {finding.says}")


def _where(figures: Measured) -> Iterable[tuple[str, str]]:
    server, client = figures.server, figures.client
    how = "embedded, started for this run alone" if server.embedded else server.network
    yield "server", f"{server.name}, {server.url} ({how})"
    limit = f"{server.maxmemory_bytes / 1e6:,.0f} MB" if server.maxmemory_bytes else "not set"
    yield "", f"AOF {server.aof or 'on, unknown when flushed'}, maxmemory {limit}, {server.maxmemory_policy}"
    if server.other_clients:
        others = many(server.other_clients, "other client")
        yield "", f"{others}, {server.other_commands_per_s:,} commands/s before"
    libraries = f"Python {client.python}, hiredis {client.hiredis or 'no'}, uvloop {client.uvloop or 'no'}"
    yield "here", f"{libraries}, signing {'on' if client.signing else 'off'}, CPUs {client.cpus}"


def _enqueues(figures: Measured) -> Iterable[Row]:
    ways = (
        ("one by one", figures.enqueue),
        ("enqueue_many, 250", figures.enqueue_many),
        ("aenqueue, 1,000 at once", figures.aenqueue),
    )
    for name, way in ways:
        shares = (_percent(way.program_core_share), _percent(way.redis_thread_share))
        yield (name, round(way.per_s), *shares, way.redis_cpu_us_per_task)


def _drain(one: Drain) -> Row:
    return (
        f"{one.kind}, {many(one.processes, 'process', 'es')}",
        round(one.per_s),
        _percent(one.core_share_per_process),
        _percent(one.redis_thread_share),
        one.redis_cpu_us_per_task,
        one.worker_cpu_us_per_task,
    )


def _rest(figures: Measured) -> Iterable[tuple[str, str]]:
    memory = figures.memory
    queued, ended = memory.queued_bytes_per_task, memory.ended_bytes_per_task
    payload = f", with a payload of {memory.payload_bytes:,}" if memory.payload_bytes else ""
    yield "memory", f"{queued:,.0f} bytes a queued task, {ended:,.0f} an ended one{payload}"
    slow = figures.slowlog
    if slow is None:
        yield "slowlog", "the server does not tell"
    elif slow.commands:
        yield "slowlog", f"{many(slow.commands, 'command')}, the longest {slow.longest_ms:.1f} ms"
    else:
        yield "slowlog", "nothing of this run"
    took = f"{figures.seconds:.0f} s{', --quick: less exact' if figures.quick else ''}"
    yield "took", f"{took}, {figures.drains[0].tasks:,} tasks a drain"


def _say(title: str, text: str) -> None:
    _wrapped(f"{title:<{_INDENT}}", text)


def _item(text: str) -> None:
    _wrapped("- ", text)


def _wrapped(head: str, text: str) -> None:
    width = min(shutil.get_terminal_size().columns, _WIDEST) if is_terminal() else _WIDTH
    kept = _UNIT.sub(rf"\1{_GLUE}\2", text)
    following = " " * len(head)
    for one in textwrap.wrap(
        kept, width, initial_indent=head, subsequent_indent=following, break_on_hyphens=False
    ):
        line(one.replace(_GLUE, " "))


def _percent(share: float | None) -> int | None:
    return None if share is None else round(share * 100)


def _us(ms: float) -> int:
    return round(ms * 1_000)
