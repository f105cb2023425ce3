"""What generations take of the machine, as /proc shows it (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rainbowd.deploy.process.attribution import attribute
from rainbowd.deploy.process.claims import all_claims
from rainbowd.deploy.process.procfs import Sight, read_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rainbowd.deploy.process.procfs import ProcessInfo

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
_USER, _ENDED_SYSTEM, _RESIDENT = 11, 14, 21  # of what follows the name in /proc/PID/stat


@dataclass(frozen=True)
class ResourceUsage:
    """What one generation takes.

    Attributes:
        processes: how many there are.
        memory_bytes: resident; what they share is counted for each of them.
        cpu_seconds: so far, with what ended among them.
    """

    processes: int = 0
    memory_bytes: int = 0
    cpu_seconds: float = 0.0


def read_usage() -> dict[int, ResourceUsage]:
    """Return what each generation takes now, by its number; reads all of /proc, so call it in a thread."""
    table, claims = read_table(), all_claims()
    found = attribute(table, claims, Sight())
    processes: dict[int, list[ProcessInfo]] = {claim.generation: [] for claim in claims if claim.generation is not None}
    for pid, claim in found.owners.items():
        if claim.generation is not None:
            processes[claim.generation].append(table[pid])
    return {generation: _sum(entries) for generation, entries in processes.items()}


def _sum(processes: Iterable[ProcessInfo]) -> ResourceUsage:
    taken = [usage for entry in processes if (usage := _read(entry)) is not None]
    return ResourceUsage(
        processes=len(taken),
        memory_bytes=sum(usage.memory_bytes for usage in taken),
        cpu_seconds=sum(usage.cpu_seconds for usage in taken),
    )


def _read(entry: ProcessInfo) -> ResourceUsage | None:
    """One process's part; None where it is gone."""
    try:
        line = (_PROC / str(entry.pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = line[line.rindex(b")") + 1 :].split()
    ticks = sum(map(int, fields[_USER : _ENDED_SYSTEM + 1]))
    return ResourceUsage(1, int(fields[_RESIDENT]) * _PAGE_BYTES, ticks / _TICKS)
