"""The hints after "no agent is running": whether the app is still running, and how to start an agent."""

from __future__ import annotations

import contextlib
import json
import shlex
from typing import TYPE_CHECKING, NamedTuple

from rainbowd.cli.agent_files import locate
from rainbowd.errors import RainbowdError
from rainbowd.report.state_dir import open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_START_TIME = 19
"""The index of starttime among the fields after the name in ``/proc/PID/stat``: proc(5)."""


class Orphan(NamedTuple):
    """An app that runs without an agent.

    Attributes:
        generation: the id of its generation.
        pid: the pid of one of its processes, the main process if that is alive.
    """

    generation: int
    pid: int


def hints(config_path: Path | None) -> list[str]:
    """Return the hints after "no agent is running", one a line; empty if the config cannot be read.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
    """
    try:
        paths = locate(config_path)
    except RainbowdError:
        return []
    lines = []
    orphan = find_orphan(paths.state_dir)
    if orphan is not None:
        lines.append(
            f"the app is still running (generation {orphan.generation}, pid {orphan.pid}), but gets no requests; "
            f"the next agent takes it over"
        )
    start = shlex.join(["rainbowd", "--config", str(paths.config_file)])
    return [*lines, f"`{start}` starts an agent; under systemd `systemctl start` of its unit does"]


def find_orphan(state_dir: Path) -> Orphan | None:
    """Return the app that an agent left running; None if there is none, or its records cannot be read.

    The record of a generation contains the pids and start times of its processes, which together are unique.
    """
    return next(_orphans(state_dir), None)


def _orphans(state_dir: Path) -> Iterator[Orphan]:
    """Yield the orphans, the live generation's first."""
    records = []
    with contextlib.suppress(OSError):
        for path in state_dir.glob("generation-*.json"):
            with contextlib.suppress(OSError, ValueError), open_to_read(path) as file:
                records.append(json.loads(file.read()))
    with contextlib.suppress(OSError, KeyError, TypeError, ValueError):  # of another version, or damaged
        boot = _content("/proc/sys/kernel/random/boot_id").strip()
        for record in sorted(records, key=lambda record: record["state"] != "live"):
            for pid, start_time in [(record["pid"], record["start_time"]), *record["known"]]:
                if record["boot_id"] == boot and _start_time(pid) == start_time:
                    yield Orphan(int(record["generation"]), int(pid))


def _start_time(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since boot; None if it does not exist."""
    try:
        return int(_content(f"/proc/{int(pid)}/stat").rpartition(")")[2].split()[_START_TIME])
    except (OSError, IndexError):
        return None


def _content(path: str) -> str:
    with open(path, errors="replace") as file:  # noqa: PTH123 - pathlib is not needed for this
        return file.read()
