"""What is written into docs/servers.md: the tables of a run, and the recipes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rainbowd.cli.detect import detect
from rainbowd.cli.init import starter
from rainbowd.cli.recipes import RECIPES
from tests.servers.rows import APPS, ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.rows import Row

SERVERS = "<!-- measured by python -m tests.servers -->"
OTHERS = "<!-- measured by python -m tests.servers --others -->"
RECIPES_BEGIN = "<!-- what rainbowd init writes -->"
END = "<!-- end -->"
BESIDE = {"listen", "release", "state_dir"}
"""Keys that have nothing to do with the server."""


def write(page: Path, begin: str, text: str) -> None:
    """Replace what is between ``begin`` and the next ``END`` of ``page``."""
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}\n{text}{END}{rest.partition(END)[2]}")


def of_servers(results: list[dict[str, Any]]) -> str:
    """The table, and what was not run."""
    ran = {result["name"] for result in results}
    left_out = [row.name for row in ROWS if row.name not in ran]
    told = f"{sum(one['deploys'] for one in results)} deploys, {sum(one['requests'] for one in results):,} requests"
    lines = [f"{_today()}: {len(results)} servers, {told}, {sum(len(one['failures']) for one in results)} failed.", ""]
    lines += ["| server | version | deploys | requests | failed | boot | switch | drain | killed | left | at TERM |"]
    lines += ["|---|---|---|---|---|---|---|---|---|---|---|", *map(_row, results), ""]
    if left_out:
        lines += [f"Not run this time: {', '.join(left_out)}.", ""]
    return "\n".join(lines)


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


def of_recipes() -> str:
    """What is special about each server, and its config, as far as it is about the server."""
    return "\n".join(map(_recipe, ROWS))


def _recipe(row: Row) -> str:
    why = "".join(
        f" The tests leave out {', '.join(row.without)} requests: {reason}." for reason in set(row.without.values())
    )
    settings = starter(APPS / row.app, detect(APPS / row.app, row.recipe))
    config = json.dumps({key: value for key, value in settings.items() if key not in BESIDE})
    return f"### {row.name}\n\n{RECIPES[row.recipe].note}{why}\n\n```json\n{config}\n```\n"
