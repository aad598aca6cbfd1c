"""The measured part of docs/performance.md: verdicts, tables, settings. All of it comes from `measured.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.benchmarks.peers.chart import chart
from tests.benchmarks.peers.environments import PEERS
from tests.benchmarks.peers.killing import Outcome
from tests.benchmarks.peers.measured import Measured, number, verdicts
from tests.benchmarks.peers.settings import ALL, Peer, Setting
from tests.workers import ROOT

PAGE = ROOT / "docs" / "performance.md"
CHART = ROOT / "docs" / "assets" / "performance.svg"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NOISY = 1.5
"""Load before a run above which its figures are called noisy: others had use of the machine."""

_PHASES = {"always": "", "waits": "for the waits", "killing": "for the killing"}
Column = tuple[str, Callable[[Peer], str]]


def publish(measured: Measured, page: Path = PAGE, picture: Path = CHART) -> None:
    """Put a run's figures into the page, and draw its chart."""
    page.write_text(inserted(page.read_text("utf-8"), render(measured)), "utf-8")
    picture.write_text(chart(measured), "utf-8")


def inserted(page: str, text: str) -> str:
    """Give a page with `text` between its markers."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{text}\n{END}{tail}"


def render(measured: Measured) -> str:
    """Give the measured part of the page, as Markdown."""
    peers = sorted(
        (ALL[name] for name in measured.rounds), key=lambda peer: -measured.median(peer.name, "drain")
    )
    return "\n".join(
        [
            _header(measured),
            "",
            "### Beside what is asked",
            "",
            *_table(("asked of taskq in this run", "asked", "measured", "", "figures"), _verdicts(measured)),
            "",
            f"![Tasks a second that a worker process drains and a program enqueues](assets/{CHART.name})",
            "",
            "### Draining, tasks a second",
            "",
            *_rows(peers, _running(measured)),
            "",
            "### What a task costs",
            "",
            *_rows(peers, _costs(measured)),
            "",
            "### Enqueueing, calls a second, and an idle worker",
            "",
            *_rows(peers, _enqueueing(measured)),
            "",
            "### A killed worker",
            "",
            *_rows(peers, _delivery(measured)),
            "",
            "### Settings",
            "",
            *_table(
                ("queue", "installed", "settings, each with where it is documented"),
                ([peer.title, _installed(peer), _settings(peer)] for peer in peers),
            ),
            "",
        ]
    )


def _header(measured: Measured) -> str:
    at = measured.circumstances
    rounds = "one round" if at.rounds == 1 else f"the median of {at.rounds} rounds"
    if at.share != 1:
        rounds += f" of {at.share:.0%} of the tasks"
    lines = (
        f"Measured {at.date}: {rounds}, Python {at.python}, {at.server}, AOF everysec, {at.cores} cores, "
        f"{at.seconds / 60:.0f} minutes. Load before the run {at.load_before:.1f}, at the most {at.load_most:.1f}."
    )
    if at.load_before > NOISY:
        lines += " **Not a quiet run:** other work had the machine. Ratios say more than figures here."
    if at.rounds < 3 or at.share < 1:
        lines += " **Not a full run:** a full one has three rounds and all of the tasks."
    return lines


def _verdicts(measured: Measured) -> Iterable[Sequence[str]]:
    for row in verdicts(measured):
        verdict = "met" if row.verdict == "ok" else "**missed**"
        yield row.name, f"{row.asked} {row.unit}", f"{number(row.value)} {row.unit}", verdict, row.note


def _column(measured: Measured, name: str, figure: str, unit: float = 1) -> Column:
    return name, lambda peer: number(measured.median(peer.name, figure) / unit)


def _running(measured: Measured) -> list[Column]:
    return [
        _column(measured, "one process, results kept", "drain"),
        _column(measured, "one process, no results", "without results"),
        _column(measured, "two processes, results kept", "two processes"),
        _column(measured, "waits of 50 ms, one process", "waits"),
    ]


def _costs(measured: Measured) -> list[Column]:
    return [
        _column(measured, "CPU of the worker, µs", "drain worker µs"),
        _column(measured, "CPU of Redis, µs", "drain redis µs"),
        _column(measured, "commands at Redis", "drain commands"),
        _column(measured, "Redis memory of a queued task, bytes", "queued bytes"),
        _column(measured, "memory of the worker (PSS), MB", "worker bytes", 1e6),
    ]


def _enqueueing(measured: Measured) -> list[Column]:
    return [
        _column(measured, "one by one", "single"),
        _column(measured, "in bulk", "bulk"),
        ("by", _bulk),
        _column(measured, "enqueue to start, p50, ms", "idle p50 ms"),
        _column(measured, "p99, ms", "idle p99 ms"),
    ]


def _bulk(peer: Peer) -> str:
    if peer.bulk:
        return f"{peer.bulk}, {peer.values()['batch']:,} at once"
    batch = peer.values().get("batch")
    return f"no call for it: {batch} awaited together" if batch else "no call for it: one by one"


def _delivery(measured: Measured) -> list[Column]:
    def column(name: str, told: Callable[[Outcome], str]) -> Column:
        return name, lambda peer: told(measured.killing[peer.name])

    return [
        column("acknowledges", lambda it: "after the run" if it.late else "**before the run**"),
        column("running when killed", lambda it: str(it.held)),
        column("lost", lambda it: f"{it.lost} of {it.count}"),
        column("ended twice", lambda it: str(it.twice)),
        column("all ended after, s", lambda it: number(it.seconds) if it.late else "never"),
    ]


def _installed(peer: Peer) -> str:
    return ", ".join(word.replace("==", " ") for word in PEERS.get(peer.name, ("this checkout",)))


def _settings(peer: Peer) -> str:
    started = (
        f"[worker]({peer.started_by}) `{peer.command[0].rpartition('/')[2]} {' '.join(peer.command[1:])}`"
    )
    return "<br>".join([started, *map(_setting, peer.settings)])


def _setting(setting: Setting) -> str:
    when = _PHASES[setting.when]
    return f"[`{setting.name}` = {setting.value}]({setting.source}){' ' if when else ''}{when}"


def _rows(peers: Sequence[Peer], columns: Sequence[Column]) -> list[str]:
    return _table(
        ("queue", *(name for name, _ in columns)),
        ([_title(peer), *(cell(peer) for _, cell in columns)] for peer in peers),
    )


def _title(peer: Peer) -> str:
    return f"**{peer.title}**" if peer.name == "taskq" else peer.title


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [heads, *rows]
    numbers = [all(row[at][:1].isdigit() for row in cells[1:]) for at in range(len(heads))]
    lines = [heads, ["---:" if right else "---" for right in numbers], *cells[1:]]
    return [f"| {' | '.join(cells)} |" for cells in lines]
