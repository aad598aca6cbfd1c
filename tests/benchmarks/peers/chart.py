"""The chart of docs/performance.md: bars drawn as SVG by hand, legible in light and dark, from nowhere else.

It has a ground of its own, so that it can be read where the page is dark and the reader's system is not.
"""

from __future__ import annotations

from html import escape

from tests.benchmarks.peers.measured import Measured, number
from tests.benchmarks.peers.settings import ALL, TASKQ

WIDTH, BAR, GAP, LEFT, RIGHT, HEAD = 720, 18, 8, 150, 80, 56
PANELS = (
    ("drain", "Tasks a second: one worker process, results kept"),
    ("bulk", "Tasks a second: one program enqueues in bulk"),
)
STYLE = """
  .ground { fill: #ffffff } text { fill: #24292f; font: 13px system-ui, sans-serif }
  .title { font-weight: 600; font-size: 15px } .small { font-size: 12px; fill: #57606a }
  .other { fill: #8c96a3 } .early { fill: none; stroke: #8c96a3; stroke-width: 1.5 } .ours { fill: #00897b }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #1b1f26 } text { fill: #e6e9ee } .small { fill: #a8b1bd } .ours { fill: #26a69a }
  }
"""
NOTE = "Hollow bars: a killed worker loses the tasks it held."


def chart(measured: Measured) -> str:
    """Draw it."""
    panels: list[str] = []
    top = 12
    for figure, title in PANELS:
        drawn, height = _panel(measured, figure, title, top)
        panels += drawn
        top += height
    panels.append(f'<text class="small" x="{LEFT}" y="{top + 8}">{NOTE}</text>')
    height = top + 24
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
            f'  width="{WIDTH}" height="{height}" role="img" aria-label="taskq beside other queues">',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{height}" rx="8"/>',
            *panels,
            "</svg>",
            "",
        ]
    )


def _panel(measured: Measured, figure: str, title: str, top: int) -> tuple[list[str], int]:
    values = {name: measured.median(name, figure) for name in measured.rounds}
    order = sorted(values, key=values.__getitem__, reverse=True)
    most = max(values.values())
    drawn = [f'<text class="title" x="{LEFT}" y="{top + 24}">{escape(title)}</text>']
    for at, name in enumerate(order):
        y = top + HEAD - 16 + at * (BAR + GAP)
        width = max(1.5, values[name] / most * (WIDTH - LEFT - RIGHT))
        kind = "ours" if name == TASKQ.name else "other" if measured.late(name) else "early"
        middle = y + BAR - 5
        drawn += [
            f'<text x="{LEFT - 10}" y="{middle}" text-anchor="end">{escape(ALL[name].title)}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{middle}">{number(values[name])}</text>',
        ]
    return drawn, HEAD + len(order) * (BAR + GAP)
