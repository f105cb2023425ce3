"""The memory and CPU time that generations use (proc(5))."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.deploy.process.launches import all_launches
from rainbowd.deploy.process.membership import find_membership
from rainbowd.deploy.process.procfs import ProcReader, read_table
from rainbowd.report.resource_usage import ResourceUsage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rainbowd.deploy.process.procfs import ProcessInfo

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_USER, _ENDED_SYSTEM, _RESIDENT = 11, 14, 21  # indices of the fields that follow the name in /proc/PID/stat


def read_usage() -> dict[int, ResourceUsage]:
    """Return the resources of each generation, by its id; for a thread, as it reads all of /proc."""
    table, launches = read_table(), all_launches()
    found = find_membership(table, launches, ProcReader())
    processes: dict[int, list[ProcessInfo]] = {
        launch.generation: [] for launch in launches if launch.generation is not None
    }
    for pid, launch in found.owners.items():
        if launch.generation is not None:
            processes[launch.generation].append(table[pid])
    return {generation: _sum(entries) for generation, entries in processes.items()}


def _sum(processes: Iterable[ProcessInfo]) -> ResourceUsage:
    taken = [usage for entry in processes if (usage := _read(entry)) is not None]
    return ResourceUsage(
        processes=len(taken),
        memory_bytes=sum(usage.memory_bytes for usage in taken),
        cpu_seconds=sum(usage.cpu_seconds for usage in taken),
    )


def _read(entry: ProcessInfo) -> ResourceUsage | None:
    """Return the resources of one process, or None if it no longer exists."""
    try:
        line = (_PROC / str(entry.pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = line[line.rindex(b")") + 1 :].split()
    ticks = sum(map(int, fields[_USER : _ENDED_SYSTEM + 1]))
    return ResourceUsage(1, int(fields[_RESIDENT]) * _PAGE_BYTES, ticks / _TICKS)
