"""The hints after "no agent is running": whether the app is still running, and how to start an agent."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from rainbowd.cli.agent_files import locate
from rainbowd.errors import RainbowdError
from rainbowd.report.state_dir import open_to_read

if TYPE_CHECKING:
    from pathlib import Path

_ROOT = 0
_START_TIME = 19
"""The index of starttime among the fields after the name in ``/proc/PID/stat``: proc(5)."""


class Orphan(NamedTuple):
    """An app that runs without an agent.

    Attributes:
        generation: the id of its generation.
        pids: the pids of its processes, the main process first if that is alive.
    """

    generation: int
    pids: list[int]


def hints(config_path: Path | None) -> list[str]:
    """Return the hints after "no agent is running", one a line; empty if the config cannot be read.

    An agent that starts can prove which processes are the app's, even if they have moved; a command only knows those
    that the last agent has recorded.  So commands name these, and do not stop them.

    Args:
        config_path: the value of ``--config``; None searches the working directory.
    """
    try:
        paths = locate(config_path)
    except RainbowdError:
        return []
    lines = []
    for orphan in find_orphans(paths.state_dir):
        pids = " ".join(map(str, orphan.pids))
        lines.append(
            f"the app is still running (generation {orphan.generation}, pid {orphan.pids[0]}), but gets no requests; "
            f"the next agent takes it over; to stop it without an agent, run `kill {pids}`"
        )
    start = shlex.join(["rainbowd", "--config", str(paths.config_file)])
    return [*lines, f"`{start}` starts an agent; under systemd `systemctl start` of its unit does"]


def find_orphans(state_dir: Path) -> list[Orphan]:
    """Return the generations that an agent left running, the live one first; empty if the records cannot be read.

    The record of a generation contains the pids and start times of its processes, which together are unique.  A record
    of an account other than root can only name processes of that account: root may do what the hint says.
    """
    records = []
    with contextlib.suppress(OSError):
        for path in state_dir.glob("generation-*.json"):
            with contextlib.suppress(OSError, ValueError), open_to_read(path) as file:
                records.append((os.fstat(file.fileno()).st_uid, json.loads(file.read())))
    found: dict[int, list[int]] = {}
    with contextlib.suppress(OSError, KeyError, TypeError, ValueError):  # of another version, or damaged
        boot = _content("/proc/sys/kernel/random/boot_id").strip()
        for owner, one in sorted(records, key=lambda owned: _rank(owned[1])):
            record = {**one, **one.get("identity", {})}  # that of a companion process
            known = dict([(record["pid"], record["start_time"]), *record["known"]])
            alive = [pid for pid, start_time in known.items() if _start_time(pid) == start_time and _is_of(pid, owner)]
            if record["boot_id"] == boot and alive:
                found.setdefault(int(record.get("owner", record["generation"])), []).extend(alive)
    return [Orphan(generation, pids) for generation, pids in found.items()]


def _rank(record: dict[str, Any]) -> int:
    """Return the place of a record: the live app first, then other apps, then companion processes."""
    return 2 if "identity" in record else int(record["state"] != "live")


def _is_of(pid: int, owner: int) -> bool:
    return owner in {_ROOT, os.stat(f"/proc/{int(pid)}").st_uid}  # noqa: PTH116 - pathlib is not needed for this


def _start_time(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since boot; None if it does not exist."""
    try:
        return int(_content(f"/proc/{int(pid)}/stat").rpartition(")")[2].split()[_START_TIME])
    except (OSError, IndexError):
        return None


def _content(path: str) -> str:
    with open(path, errors="replace") as file:  # noqa: PTH123 - pathlib is not needed for this
        return file.read()
