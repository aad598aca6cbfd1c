"""README's figures, taken from docs/performance.md: `python -m tests.readme` writes them."""

from __future__ import annotations

from pathlib import Path

from tests.doctables import DOCS, ROOT, rows

README = ROOT / "README.md"
PAGE = DOCS / "performance.md"
BEGIN, END = "<!-- performance -->\n", "<!-- /performance -->\n"
ON_YOUR_OWN = (
    "`taskq bench` measures [your own](docs/workers.md#how-fast-is-it-here), and says what limits it.\n"
)
QUEUES = ("taskq", "Celery", "RQ", "Dramatiq", "arq", "taskiq")
COLUMNS = {
    "one process, results kept": "tasks a second, one process",
    "two processes, results kept": "two processes",
    "CPU of the worker, µs": "worker CPU a task, µs",
    "one by one": "enqueued a second",
    "in bulk": "in bulk",
}
"""Columns of the page, and what they are called in the README."""


def shown(readme: Path = README) -> str:
    """Give what the README has between its markers."""
    return readme.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


def figures(page: Path = PAGE) -> str:
    """Give what it should have there: a table of the page's figures, and where they come from."""
    told: dict[str, dict[str, str]] = {name: {} for name in QUEUES}
    for row in rows(page, "queue"):
        if (name := row["queue"].strip("*")) in told:
            told[name].update(row)
    head = "| " + " | ".join(("", *COLUMNS.values())) + " |"
    lines = [
        f"| {name} | " + " | ".join(told[name].get(column, "–") for column in COLUMNS) + " |"
        for name in QUEUES
    ]
    source = "In one run on one machine: [Performance](docs/performance.md) says how, and has more of each.\n"
    return "\n".join((source, head, "| --- |" + " --- |" * len(COLUMNS), *lines, "", ON_YOUR_OWN))


def main() -> None:
    """Write the page's figures into the README."""
    text = README.read_text("utf-8")
    README.write_text(text.replace(f"{BEGIN}{shown()}{END}", f"{BEGIN}{figures()}{END}"), "utf-8")


if __name__ == "__main__":
    main()
