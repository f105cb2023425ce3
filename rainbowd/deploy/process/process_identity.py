"""The identity of a generation's first process, by which a later agent finds it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PID_LIMIT = 1 << 22  # PID_MAX_LIMIT of proc(5)


@dataclass(frozen=True)
class ProcessIdentity:
    """The identity of a generation's first process; a part of the generation's record.

    Attributes:
        pid, pgid: number and process group of the child.
        start_time: of the child, in clock ticks since boot.
        boot_id: the id of the boot in which number and start time are valid.
        state_dir, generation: the values in the environment of its processes.
        release: the resolved directory of the release.
        address: the address of the app, in the form of ``status.json``.
        pidfile: the file in which a daemon can write its number.
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
        """Return the identity in a JSON object.

        Raises:
            ValueError: the object has other fields, or its numbers cannot be those of a process.
        """
        if {name: type(value).__name__ for name, value in fields.items()} != cls.__annotations__:
            raise ValueError(f"not the identity of a process: {str(fields)[:200]}")
        identity = cls(**fields)
        if not (0 < identity.pid < _PID_LIMIT and identity.start_time >= 0):
            raise ValueError(f"not the number of a process: {identity.pid}")
        return identity


def boot_id() -> str:
    """Return the id of the present boot of the machine (random(4))."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
