"""``rainbowd history``: list the deploys in the journal, newest first, whether an agent is running or not.

This must start as fast as Python does, so it imports only a few modules of the standard library.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import locate
from rainbowd.cli.terminal import (
    DIM,
    align_columns,
    describe_result,
    escape_control,
    painter,
    release_name,
    terminal_columns,
)
from rainbowd.report.history import deploys
from rainbowd.report.journal import read_events

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.report.history import DeployEntry

SHOWN = 20
"""How many deploys are listed by default."""

HEADER = ["when (UTC)", "deploy", "release", "generation", "result", "seconds", "by", "note"]
NUMBERS = {"generation", "seconds"}
LEFT_OUT = ["note", "generation", "seconds", "by"]
"""The columns that a narrow terminal does not show, in this order; notes then have lines of their own."""


def history(config_path: Path | None, *, as_json: bool, count: int | None) -> int:
    """Print the deploys, newest first.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
        as_json: print the entries as a JSON list.
        count: the value of ``-n``; None for the last 20, or for all of them as JSON.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: the config file does not exist.
        RainbowdError: the config is invalid, or the journal cannot be read.
    """
    state_dir = locate(config_path).state_dir
    found = deploys(read_events(state_dir, "deploy."))
    if as_json:
        print(json.dumps(found[:count], indent=2))
        return 0
    chosen = found[: SHOWN if count is None else count]
    for line in _readable(chosen):
        print(line)
    if count is None and len(found) > SHOWN:
        print(f"{len(found) - SHOWN} older deploys are not shown; -n {len(found)} shows all")
    return 0


def _readable(entries: list[DeployEntry]) -> list[str]:
    if not entries:
        return ["no deploys recorded"]
    paint = painter()
    (first, *rows), has_notes = fit([HEADER, *(_row(entry) for entry in entries)], terminal_columns())
    lines = [paint(DIM, first)]
    for entry, row in zip(entries, rows, strict=True):
        lines.append(paint(describe_entry_result(entry)[1], row))
        if entry["note"] and not has_notes:
            lines.append(f"  note: {escape_control(entry['note'])}")
        if entry["reason"]:
            lines.append(f"  {escape_control(entry['reason'])}")
    return lines


def fit(rows: list[list[str]], width: int | None) -> tuple[list[str], bool]:
    """Return the lines of the table, without columns for which there is no room, and whether it has the notes.

    Args:
        rows: the cells, the header first.
        width: of the terminal in characters; None for no limit.
    """
    lines, shown = align_columns(rows, NUMBERS), list(HEADER)
    if width is not None and max(map(len, lines)) > width:
        rows = [_without_repetition(row) for row in rows]
        lines = align_columns(rows, NUMBERS)
    for name in LEFT_OUT:
        if width is None or max(map(len, lines)) <= width:
            break
        shown.remove(name)
        kept = [index for index, column in enumerate(HEADER) if column in shown]
        lines = align_columns([[row[index] for index in kept] for row in rows], NUMBERS)
    return lines, "note" in shown


def _without_repetition(row: list[str]) -> list[str]:
    """Return a row whose result does not repeat the name of the release."""
    name = row[HEADER.index("release")]
    return [cell.removesuffix(f" to {name}") if cell.startswith("rolled back") else cell for cell in row]


def _row(entry: DeployEntry) -> list[str]:
    by = " ".join(filter(None, [entry["by"], f"({entry['trigger']})" if entry["trigger"] else ""]))
    cells = [
        format_utc(entry["at"]),
        entry["deploy"],
        release_name(str(entry["release"] or "-")),
        "-" if entry["generation"] is None else entry["generation"],
        describe_entry_result(entry)[0],
        "-" if entry["seconds"] is None else f"{entry['seconds']:.2f}",
        by or "-",
        entry["note"] or "",
    ]
    return [escape_control(cell) for cell in cells]


def describe_entry_result(entry: DeployEntry) -> tuple[str, str]:
    """Return the result of a deploy for people, and its style."""
    return describe_result(entry["result"], entry["reason"], entry["release"], is_rollback=entry["rollback"])


def format_utc(at: str) -> str:
    """Return ``at``, a time in RFC 3339, as date and time in UTC, to the second."""
    try:
        return datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return escape_control(at)
