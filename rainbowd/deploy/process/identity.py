"""By what a later agent finds a generation's processes again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PID_LIMIT = 1 << 22  # PID_MAX_LIMIT of proc(5)


@dataclass(frozen=True)
class ProcessIdentity:
    """What one generation's processes are known by; a part of its record.

    Attributes:
        pid, pgid: of the child, and its process group.
        start_time: of the child, in clock ticks since boot.
        boot_id: of the boot that number and time belong to.
        state_dir, generation: the marker in the environment of its processes.
        release: the resolved directory.
        address: where it is reached, as ``status.json`` writes it.
        pidfile: where a daemon says which process it is.
    """

    pid: int
    pgid: int
    start_time: int
    boot_id: str
    state_dir: str
    generation: int
    release: str
    address: str
    pidfile: str

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> ProcessIdentity:
        """Read it, as JSON has it.

        Raises:
            ValueError: it is something else, or its numbers are no process's.
        """
        if {name: type(value).__name__ for name, value in fields.items()} != cls.__annotations__:
            raise ValueError(f"not what processes are known by: {str(fields)[:200]}")
        identity = cls(**fields)
        if not (0 < identity.pid < _PID_LIMIT and identity.start_time >= 0):
            raise ValueError(f"not the number of a process: {identity.pid}")
        return identity


def boot_id() -> str:
    """Of the boot that this is (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
