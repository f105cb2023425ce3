"""The table of docs/processes.md, made from the result of a run that is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).with_name("measured.json")
"""The result of the last whole run, from which the table is made."""

BEGIN = "<!-- measured by python -m tests.processes -->"
END = "<!-- end -->"
COLUMNS = (
    "queue",
    "version",
    "deploys",
    "jobs",
    "lost",
    "begun twice",
    "schedulers doubled",
    "requests",
    "requests failed",
    "killed",
    "left",
)


def read() -> dict[str, Any]:
    """Return the result of the last whole run."""
    measured: dict[str, Any] = json.loads(MEASURED.read_text())
    return measured


def of(measured: dict[str, Any]) -> str:
    """Return the text of the table."""
    rows = measured["queues"]
    head = f"Run on {measured['date']}: {len(rows)} queues, {sum(one['deploys'] for one in rows)} deploys."
    lines = [head, "", _line(COLUMNS), "|" + "---|" * len(COLUMNS), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def on_page(page: str) -> str:
    """Return the table that a page has."""
    return page.partition(f"{BEGIN}\n")[2].partition(END)[0]


def write(page: Path, text: str) -> None:
    """Replace the table of a page."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}{END}{rest.partition(END)[2]}")


def _row(one: dict[str, Any]) -> str:
    counts = len(one["lost"]), len(one["twice"]), one["doubled"], one["requests"], len(one["failures"])
    return _line((one["title"], one["version"], one["deploys"], one["jobs"], *counts, one["killed"], one["left"]))


def _line(cells: tuple[object, ...]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
