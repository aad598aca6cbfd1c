"""The comparison with other queues: what it makes of figures. That the queues run, the run itself shows."""

from __future__ import annotations

import asyncio
import io
import json
import re
import string
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.benchmarks.peers import __main__ as program
from tests.benchmarks.peers import report, run
from tests.benchmarks.peers.chart import chart
from tests.benchmarks.peers.drivers import common
from tests.benchmarks.peers.drivers.common import CLOCK_BITS
from tests.benchmarks.peers.environments import PEERS
from tests.benchmarks.peers.killing import Outcome, ended, missing, running
from tests.benchmarks.peers.measure import QUICK, Size, lags_ms
from tests.benchmarks.peers.measured import Circumstances, Measured, load, number, save, verdicts
from tests.benchmarks.peers.settings import ALL, OTHERS, SLOTS, TASKQ, Peer
from tests.benchmarks.peers.stage import DRIVERS, Failed, Gauges

WHEN = Circumstances("2026-11-28", "3.11.7", "redis 7.0.15", 2, 3, 1.0, 0.2, 2.5, 1_500.0)
FIGURES = {
    "drain": 2_000.0,
    "drain worker µs": 400.0,
    "drain redis µs": 90.0,
    "drain commands": 10.0,
    "without results": 2_500.0,
    "two processes": 2_600.0,
    "waits": 1_500.0,
    "single": 4_000.0,
    "bulk": 8_000.0,
    "idle p50 ms": 0.9,
    "idle p99 ms": 1.8,
    "queued bytes": 300.0,
    "worker bytes": 40e6,
}
OURS = {
    **FIGURES,
    "drain": 40_000.0,
    "drain worker µs": 8.0,
    "single": 9_000.0,
    "bulk": 90_000.0,
    "idle p50 ms": 0.5,
}


def outcome(lost: int = 0) -> Outcome:
    return Outcome(count=100, held=5, lost=lost, twice=0, seconds=3.0)


def made(**figures: dict[str, float]) -> Measured:
    """A run in which taskq is far ahead of two others, but for what is given."""
    sides = {"taskq": OURS, "saq": FIGURES, "huey": FIGURES}
    rounds = {name: [{**some, **figures.get(name, {})}] for name, some in sides.items()}
    return Measured(
        WHEN,
        rounds,
        {"saq": rounds["taskq"], "huey": rounds["taskq"]},
        {"taskq": outcome(), "saq": outcome(), "huey": outcome(lost=5)},
    )


def verdict_of(measured: Measured, word: str) -> str:
    (found,) = [row.verdict for row in verdicts(measured) if word in row.name]
    return found


@pytest.mark.parametrize("peer", ALL.values(), ids=lambda peer: peer.name)
def test_every_setting_has_a_source_and_reaches_the_worker(peer: Peer) -> None:
    driver = (DRIVERS / f"with_{peer.name}.py").read_text("utf-8")
    common = (DRIVERS / "common.py").read_text("utf-8")
    named = {field for word in peer.command for _, field, _, _ in string.Formatter().parse(word) if field}
    for setting in peer.settings:
        where = setting.source if "://" in setting.source else f"{report.PAGE.parent}/{setting.source}"
        assert where.startswith("https://") or Path(where).exists(), setting
        assert setting.name in named or f'"{setting.name}"' in driver + common, (
            f"nothing reads {setting.name}"
        )

    assert peer.started_by


@pytest.mark.parametrize("peer", ALL.values(), ids=lambda peer: peer.name)
def test_a_worker_is_started_with_the_settings_of_its_part_of_the_run(peer: Peer) -> None:
    for phase in ("always", "waits", "killing"):
        words = peer.words("/bin", peer.values(phase, 2), 2)

        assert words[0].startswith("/bin/")
        assert not [word for word in words if "{" in word]


def test_waits_get_the_same_slots_in_every_queue_that_has_slots() -> None:
    names = ("concurrency", "threads", "workers", "max_jobs", "max_async_tasks")
    slots = {
        peer.name: [int(value) for name, value in peer.values("waits").items() if name in names]
        for peer in ALL.values()
    }

    assert slots.pop("rq") == []  # one task at a time
    assert slots == {name: [SLOTS] for name in slots}


def test_every_queue_that_can_be_installed_is_compared() -> None:
    assert [peer.name for peer in OTHERS] == list(PEERS)
    assert set(ALL) == {TASKQ.name, *PEERS}


def test_what_is_far_ahead_meets_what_is_asked() -> None:
    assert [row.verdict for row in verdicts(made())] == ["ok"] * 5


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"drain": 19_999.0}, "drain"),
        ({"drain worker µs": 27.0}, "CPU"),
        ({"bulk": 39_000.0}, "bulk"),
        ({"single": 3_999.0}, "one by one"),
        ({"idle p50 ms": 0.91}, "idle"),
    ],
)
def test_what_falls_short_is_missed(figures: dict[str, float], word: str) -> None:
    measured = made(taskq=figures)

    assert verdict_of(measured, word) == "missed"
    assert [row.verdict for row in verdicts(measured)].count("missed") == 1


def test_the_drain_is_held_against_those_alone_that_acknowledge_after_the_run() -> None:
    """Huey is far ahead here, and loses what its worker held: it does not count for the drain, but for all else."""
    measured = made(huey={"drain": 30_000.0, "bulk": 30_000.0})

    assert verdict_of(measured, "drain") == "ok"
    assert verdict_of(measured, "bulk") == "missed"


def test_the_cpu_is_held_against_the_fastest_not_the_thriftiest() -> None:
    measured = made()
    measured.rounds["rq"] = [{**FIGURES, "drain": 100.0, "drain worker µs": 1.0}]
    measured.beside["rq"] = [OURS]
    measured.killing["rq"] = outcome()

    assert verdict_of(measured, "CPU") == "ok"


def test_a_figure_is_the_median_of_its_rounds() -> None:
    measured = made()
    measured.rounds["saq"] = [{**FIGURES, "drain": rate} for rate in (1.0, 900.0, 2.0)]

    assert measured.median("saq", "drain") == 2.0


def test_a_ratio_is_of_what_was_measured_by_turns_and_the_median_of_the_rounds() -> None:
    """The machine is twice as fast in the second round and, while SAQ has its turn, ten times in the third."""
    measured = made()
    measured.rounds["taskq"] = [{**OURS, "single": rate} for rate in (9_000.0, 9_000.0, 9_000.0)]
    measured.rounds["saq"] = [{**FIGURES, "single": rate} for rate in (4_000.0, 8_000.0, 40_000.0)]
    measured.beside["saq"] = [{**OURS, "single": rate} for rate in (8_000.0, 16_000.0, 80_000.0)]

    assert measured.ratio("saq", "single") == 2.0
    assert measured.ours("saq", "single") == 16_000.0
    assert measured.ratio("saq", "drain") == 20.0


def test_where_no_queue_acknowledges_after_the_run_the_drain_is_held_against_none() -> None:
    measured = made()
    measured.killing["saq"] = outcome(lost=1)

    assert [row.name.partition(",")[0] for row in verdicts(measured)] == [
        "enqueue in bulk",
        "enqueue one by one",
        "idle: enqueue to start",
    ]


def test_a_queue_that_does_not_run_fails_the_run_and_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def by_turns(
        one: Peer, other: Peer, folder: Path, size: Size
    ) -> tuple[dict[str, float], dict[str, float]]:
        asked.append(f"{one.name} {other.name}")
        if other.name == "rq":
            raise Failed("RQ: the worker ended\nModuleNotFoundError: rq")
        return {"single": 2.0 * len(asked)}, {"single": 1.0}

    def drains(peer: Peer, folder: Path, size: Size) -> dict[str, float]:
        asked.append(peer.name)
        return {"drain": 1.0}

    monkeypatch.setattr(run, "by_turns", by_turns)
    monkeypatch.setattr(run, "drains", drains)
    whole = run.Run([ALL["taskq"], ALL["saq"], ALL["rq"], ALL["huey"]], QUICK)
    whole.figures(2)

    first = ["taskq saq", "taskq rq", "taskq huey", "taskq", "saq", "huey"]
    assert asked == [*first, "taskq saq", "taskq huey", "taskq", "saq", "huey"]
    assert whole.beside["huey"] == [{"single": 6.0}, {"single": 16.0}]
    assert whole.rounds["taskq"][0] == {
        "single": 4.0,
        "drain": 1.0,
    }  # the middle of what it had beside the others
    assert program.conclude(whole, Namespace(rounds=2, json=False, only=None, peers=None, quick=False)) == 1
    assert "RQ: the worker ended\nModuleNotFoundError: rq" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("bulk", [True, False])
def test_a_driver_enqueues_so_many_or_for_so_long_and_in_bulk_where_it_can(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str, bulk: bool
) -> None:
    told = [
        {"do": "one", "task": "empty", "count": 2},
        {"do": "many", "task": "numbered", "calls": [[1], [2], [3]]},
        {"do": "many", "task": "empty", "seconds": 0.02},
    ]
    stored: list[tuple[str, list[tuple[int, ...]]]] = []

    def one(task: str, args: tuple[int, ...]) -> None:
        stored.append((task, [args]))

    def many(task: str, calls: Sequence[tuple[int, ...]]) -> None:
        stored.append((task, list(calls)))

    async def aone(task: str, args: tuple[int, ...]) -> None:
        one(task, args)

    async def amany(task: str, calls: Sequence[tuple[int, ...]]) -> None:
        many(task, calls)

    monkeypatch.setattr(common, "SETTINGS", {"batch": 2})
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(json.dumps(line) for line in told)))
    if kind == "sync":
        common.serve(one, many if bulk else None)
    else:
        asyncio.run(common.aserve(aone, amany if bulk else None))

    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert answers[0] == {"ready": True}
    counts = [answer["count"] for answer in answers[1:]]
    assert counts[:2] == [2, 3]
    assert sum(len(calls) for _, calls in stored) == sum(counts)
    assert answers[3]["seconds"] >= 0.02
    assert answers[3]["count"] % 2 == 0
    numbered = [calls for task, calls in stored if task == "numbered"]
    assert numbered == ([[(1,), (2,)], [(3,)]] if bulk else [[(1,)], [(2,)], [(3,)]])


def test_what_runs_when_the_worker_is_killed_is_what_has_begun_and_not_ended() -> None:
    marks = (-1, -2, 1, -3)

    assert running(marks) == {2, 3}
    assert ended(marks) == {1}
    assert missing((*marks, 2), 3)
    assert not missing((*marks, 2, 3), 3)


def test_an_idle_start_is_told_by_its_number_whatever_else_runs_meanwhile() -> None:
    first, second = 1 << CLOCK_BITS, 2 << CLOCK_BITS
    again = 1_500_000  # without a number: some task of before that ran a second time

    assert lags_ms([1_000_000, 3_000_000], [again, first | 2_000_000, second | 7_000_000]) == [1.0, 4.0]


def test_what_was_spent_is_the_difference_of_two_readings() -> None:
    earlier = Gauges(at=1.0, ran=10, worker_s=0.5, redis_s=0.25, commands=100)

    spent = Gauges(at=3.0, ran=30, worker_s=1.0, redis_s=0.5, commands=300).since(earlier)

    assert spent == Gauges(at=2.0, ran=20, worker_s=0.5, redis_s=0.25, commands=200)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.4567, "0.457"), (46.12, "46.1"), (999.4, "999"), (1_234.0, "1,230"), (65_432.0, "65,400")],
)
def test_a_figure_is_shown_with_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_run_is_kept_and_read_back(tmp_path: Path) -> None:
    save(made(), tmp_path / "measured.json")

    assert load(tmp_path / "measured.json") == made()


def test_the_page_says_what_was_missed_and_who_loses_tasks() -> None:
    text = report.render(made(taskq={"single": 1.0}))

    assert text.count("| **missed** |") == 1
    assert text.count("| met |") == 4
    assert "| Huey | **before the run** | 5 | 5 of 100 |" in text


def test_a_run_that_was_not_quiet_or_not_full_says_so() -> None:
    def told(**circumstances: float) -> str:
        return report.render(
            msgspec.structs.replace(made(), circumstances=msgspec.structs.replace(WHEN, **circumstances))
        )

    assert "Not a" not in told()
    assert "Not a quiet run" in told(load_before=4.0, load_most=6.0)
    assert "Not a full run" in told(rounds=1)
    assert "Not a full run" in told(share=0.25)


def test_only_what_stands_between_the_markers_is_made_anew() -> None:
    page = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"

    once = report.inserted(page, "new")

    assert once == f"before\n{report.BEGIN}\n\nnew\n{report.END}\nafter\n"
    assert report.inserted(once, "new") == once


def test_the_chart_is_a_drawing_by_itself_with_a_bar_for_each_queue() -> None:
    drawn = chart(made())
    bars = re.findall(r'<rect class="(\w+)"', drawn)

    assert bars == ["ground", *["ours", "other", "early"] * 2]
    assert "href" not in drawn


def test_the_page_and_the_chart_show_what_the_run_has_measured() -> None:
    """Made by the run, never by hand: `python -m tests.benchmarks.peers --page` after a change of their form."""
    measured = load()
    page = report.PAGE.read_text("utf-8")

    assert report.inserted(page, report.render(measured)) == page
    assert report.CHART.read_text("utf-8") == chart(measured)
