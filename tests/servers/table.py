"""The table of docs/servers.md, from the results of a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rainbowd.cli.recipes import RECIPES
from tests.servers.rows import ROWS

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = "<!-- written by python -m tests.servers -->"
OTHERS = "<!-- written by python -m tests.servers --others -->"
END = "<!-- end -->"
BESIDE = {"listen", "state_dir"}
"""Keys that have nothing to do with the server."""


def write(page: Path, begin: str, text: str) -> None:
    """Replace what is between ``begin`` and the next ``END`` of ``page``."""
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}\n{text}{END}{rest.partition(END)[2]}")


def of_servers(results: list[dict[str, Any]]) -> str:
    """The table, what was not run, and a recipe for each that was."""
    ran = {result["name"] for result in results}
    left_out = [row.name for row in ROWS if row.name not in ran]
    told = f"{sum(one['deploys'] for one in results)} deploys, {sum(one['requests'] for one in results):,} requests"
    lines = [f"{_today()}: {len(results)} servers, {told}, {sum(len(one['failures']) for one in results)} failed.", ""]
    lines += ["| server | version | deploys | requests | failed | boot | switch | drain | killed | left | at TERM |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|---|", *map(_row, results), ""]
    if left_out:
        lines += [f"Not run this time: {', '.join(left_out)}.", ""]
    return "\n".join([*lines, *(_recipe(result) for result in results)])


def of_others(seen: list[dict[str, Any]]) -> str:
    """The table."""
    lines = [f"{_today()}.", "", "| server | way | deploys | requests | lost | how |", "|---|---|---|---|---|---|"]
    for one in seen:
        how = ", ".join(f"{count} {name}" for name, count in one["lost"].items())
        cells = one["server"], one["way"], one["deploys"], one["requests"], sum(one["lost"].values()), how
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*lines, ""])


def _today() -> str:
    return f"Run on {datetime.now(UTC):%Y-%m-%d}"


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
    why = "".join(f" Not asked for {', '.join(row.without)}: {reason}." for reason in set(row.without.values()))
    config = json.dumps({key: value for key, value in one["config"].items() if key not in BESIDE})
    return f"### {row.name}\n\n{RECIPES[row.recipe].note}{why}\n\n```json\n{config}\n```\n"
