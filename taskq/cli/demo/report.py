"""What people read at the end of the demo."""

from __future__ import annotations

from taskq.cli.demo.findings import Findings
from taskq.cli.demo.stage import entry
from taskq.cli.output import line, table
from taskq.cli.trial.durations import Milliseconds


def report(found: Findings) -> None:
    """Print the totals side by side, then what was measured and shown, then the verdict."""
    line()
    rows = [(name, found.totals[name], plain) for name, plain in found.plain_totals.items()]
    table(("TOTALS", "WITH TASKQ", "WITHOUT"), rows)
    _say("digests", f"{found.digest[:12]} with taskq, {found.plain_digest[:12]} without")
    line()
    _say("rate", f"{found.rate:,.0f} tasks/s: {found.accepted:,} in {found.seconds:.1f} s, enqueue included")
    _say(
        "plain loop",
        f"{found.plain_seconds:.1f} s in one process, run second, on files that were read before",
    )
    _say("one run", f"{_shown(found.run_ms)}, {found.concurrency} at once in a process")
    _say("to the end", f"{_shown(found.end_to_end_ms)} from the enqueue, which was of all at once")
    _say("retried", f"{found.retried} of {found.stumbling} that were made to fail the first time")
    again = sum(task.again_in is not None for task in found.interrupted)
    _say("redelivered", f"{again} of {len(found.interrupted)} that ran in the killed process:")
    for task in found.interrupted:
        _say(
            "", f"{task.id}  {f'again in process {task.again_in}' if task.again_in else 'NOT STARTED AGAIN'}"
        )
    for letter in found.dead_letters:
        _say("dead letter", f"{letter.id}  {letter.task}, {letter.attempts} attempts")
        _say("", letter.error or "")
    _say("accounts", f"{found.accepted:,} accepted = {found.succeeded:,} succeeded + {found.failed:,} failed")
    line()
    problems = found.problems
    for problem in problems:
        line(f"PROBLEM: {problem}")
    if not problems:
        line("Nothing was lost, and the totals are equal.")


def _say(title: str, text: str) -> None:
    line(entry(title, text))


def _shown(times: Milliseconds) -> str:
    return f"p50 {_time(times.p50)}, p99 {_time(times.p99)}"


def _time(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < 1_000 else f"{ms / 1_000:.2f} s"
