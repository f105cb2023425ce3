"""The table of docs/servers.md, from the results of a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rainbowd.cli.recipes import RECIPES
from tests.servers.rows import ROWS

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, END = "<!-- written by python -m tests.servers -->", "<!-- end -->"


def write(page: Path, results: list[dict[str, Any]]) -> None:
    """Replace what is between the marks of ``page``."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text(results)}{END}{rest.partition(END)[2]}")


def text(results: list[dict[str, Any]]) -> str:
    """The table, what was not run, and a recipe for each that was."""
    ran = {result["name"] for result in results}
    left_out = [row.name for row in ROWS if row.name not in ran]
    lines = [f"Run on {datetime.now(UTC):%Y-%m-%d}.", ""]
    lines += ["| server | version | deploys | requests | failed | boot | switch | drain | killed | left | at TERM |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|---|", *map(_row, results), ""]
    if left_out:
        lines += [f"Not run this time: {', '.join(left_out)}.", ""]
    return "\n".join([*lines, *(_recipe(result) for result in results)])


def _row(one: dict[str, Any]) -> str:
    cells = (
        one["name"],
        one["version"],
        one["deploys"],
        one["requests"],
        len(one["failures"]),
        f"{one['boot_seconds']:.1f} s",
        f"{one['switch_seconds'] * 1000:.0f} ms",
        f"{one['drain_seconds']:.1f} s",
        one["killed"],
        one["left"],
        one["kept"],
    )
    return f"| {' | '.join(map(str, cells))} |"


def _recipe(one: dict[str, Any]) -> str:
    row = next(row for row in ROWS if row.name == one["name"])
    without = "".join(f" Not asked for: {kind} ({why})." for kind, why in row.without.items())
    config = json.dumps({key: one["config"][key] for key in one["config"] if key not in {"listen", "state_dir"}})
    return f"### {row.name}\n\n{RECIPES[row.recipe].note}{without}\n\n```json\n{config}\n```\n"
