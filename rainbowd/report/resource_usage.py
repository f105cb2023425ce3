"""The memory and CPU time of a generation, as the metrics show them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ResourceUsage:
    """The resources that one generation uses.

    Attributes:
        processes: number of processes.
        memory_bytes: resident memory; shared memory is counted for each process.
        cpu_seconds: CPU time so far, including that of children that were reaped.
    """

    processes: int = 0
    memory_bytes: int = 0
    cpu_seconds: float = 0.0
