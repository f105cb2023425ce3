"""``rainbowd history``: the deploys that the journal tells of, newest first, whether an agent runs or not.

This has to start as fast as Python does: nothing but the standard library, and of that little.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rainbowd.cli.agent_files import locate
from rainbowd.cli.terminal import DIM, align_columns, describe_result, escape_control, painter, release_name
from rainbowd.report.history import deploys
from rainbowd.report.journal import read_events

if TYPE_CHECKING:
    from pathlib import Path

    from rainbowd.report.history import DeployEntry

SHOWN = 20
"""Of all, where a person looks and says no number."""

HEADER = ["when (UTC)", "deploy", "release", "generation", "result", "seconds", "by", "note"]
NUMBERS = {"generation", "seconds"}


def history(config_path: Path | None, *, as_json: bool, count: int | None) -> int:
    """Print the deploys, newest first.

    Args:
        config_path: of ``--config``; None looks in the working directory.
        as_json: a list of ``report.history.Entry``.
        count: of ``-n``; None: all as JSON, else the last 20.

    Returns:
        The exit status, 0.

    Raises:
        ConfigError: there is no config file.
        RainbowdError: the config is broken, or the journal may not be read.
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
        print(f"and {len(found) - SHOWN} before these: -n {len(found)} shows them all")
    return 0


def _readable(entries: list[DeployEntry]) -> list[str]:
    if not entries:
        return ["no deploy is on record"]
    paint = painter()
    first, *rows = align_columns([HEADER, *(_row(entry) for entry in entries)], NUMBERS)
    lines = [paint(DIM, first)]
    for entry, row in zip(entries, rows, strict=True):
        lines.append(paint(describe_entry_result(entry)[1], row))
        if entry["reason"]:
            lines.append(f"  {escape_control(entry['reason'])}")
    return lines


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
    """Return a time in RFC 3339 as the log has it, in UTC, to the second."""
    try:
        return datetime.fromisoformat(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        return escape_control(at)
